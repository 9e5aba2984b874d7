// A chat hub with ws, the way its examples are written: a map of users, and a send for each recipient.
//
//     node hub.js --listen 127.0.0.1:8888

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const users = new Map();
// Of a connection; ws turns TCP_NODELAY on by itself.
const hub = new WebSocketServer({ noServer: true });

hub.on("connection", (socket, user) => {
  users.set(user, socket);
  socket.send(Buffer.from("welcome"));
  socket.on("message", (message) => {
    const to = recipient(message);
    if (to === "") {
      for (const other of users.values()) other.send(message);
    } else {
      users.get(to)?.send(message);
    }
  });
  socket.on("close", () => {
    // Another connection of this user may have taken its place.
    if (users.get(user) === socket) users.delete(user);
  });
  socket.on("error", () => socket.terminate());
});

const server = createServer((_, response) => response.writeHead(404).end());
server.on("upgrade", (request, stream, head) => {
  const url = new URL(request.url, "http://localhost");
  const user = url.searchParams.get("user");
  if (url.pathname !== "/socket.io" || !user) return stream.destroy();
  hub.handleUpgrade(request, stream, head, (socket) => hub.emit("connection", socket, user));
});

const listen = process.argv[process.argv.indexOf("--listen") + 1] ?? "";
const colon = listen.lastIndexOf(":");
server.listen({ host: listen.slice(0, colon), port: Number(listen.slice(colon + 1)), backlog: 4096 });

// Field 4 of a protobuf message, a string; the other fields are passed over. Nobody, if it cannot be read.
function recipient(bytes) {
  let at = 0;
  let to = "";
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (!(byte & 128)) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const wire = key & 7;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const length = varint();
      if (key >> 3 === 4) to = bytes.toString("utf8", at, at + length);
      at += length;
    } else return undefined;
  }
  return at === bytes.length ? to : undefined;
}
