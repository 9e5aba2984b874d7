// A server of one's own, as `switchboard serve` runs it.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATIENCE_MS = 20_000;

/** Makes a certificate of one's own; gives the flags that name it. */
function certificate(folder) {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-keyout', key, '-out', cert];
  execFileSync('openssl', args, { stdio: 'ignore' });
  return ['--tls-cert', cert, '--tls-key', key];
}

/** Starts a server; gives its address, its log so far, and a way to stop it. */
export async function startServer(auth, isTls) {
  const folder = await mkdtemp(join(tmpdir(), 'switchboard-browser-'));
  const args = ['serve', '--listen', '127.0.0.1:0', '--data', join(folder, 'data'), '--auth', auth];
  if (isTls) args.push(...certificate(folder));
  const env = { PATH: process.env.PATH, SWITCHBOARD_LOG_FORMAT: 'json' };
  const child = spawn(process.env.SWITCHBOARD, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  const ended = new Promise((resolve) => { child.once('close', resolve); });
  const listening = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the server does not start:\n${log}`)), PATIENCE_MS);
    child.once('error', reject);
    ended.then(() => reject(new Error(`the server has ended:\n${log}`)));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
      const address = /"address":"([^"]+)"/.exec(log)?.[1];
      if (!address) return;
      clearTimeout(timer);
      resolve(address);
    });
  });
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    await ended;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { address: `http${isTls ? 's' : ''}://${await listening}`, log: () => log, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
