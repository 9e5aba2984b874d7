//! Where it all happens: a folder, a small disk in it, and a clock that can be stepped. What is mounted is unmounted, however the
//! test ends; if it fails, everything is kept.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::say;

/// Room for the database, files and recordings of one world. It is memory.
const DISK_BYTES: u64 = 192 << 20;

/// What a disk is called in the list of what is mounted, before the number of the process whose it is.
const DISK: &str = "soak-";

/// What fills the disk is written in such pieces, the last ones smaller.
const PIECES: [usize; 3] = [1 << 20, 1 << 14, 1 << 9];

pub(crate) struct Ground {
    folder: Option<TempDir>,
    /// Data and recordings are here.
    disk: PathBuf,
    is_mounted: bool,
    clock: Option<Clock>,
    /// What this machine does not let us do, and why.
    pub(crate) left_out: Vec<String>,
}

/// What the server is preloaded with, and the file that steps its clock.
struct Clock {
    library: PathBuf,
    step: PathBuf,
}

impl Ground {
    pub(crate) fn prepare() -> Self {
        unmount_what_is_left();
        let folder = tempfile::Builder::new().prefix("soak-").tempdir().unwrap();
        let disk = folder.path().join("disk");
        for made in ["disk", "devices", "logs"] {
            fs::create_dir(folder.path().join(made)).unwrap();
        }
        let mut ground =
            Self { folder: Some(folder), disk, is_mounted: false, clock: None, left_out: Vec::new() };
        match mount(&ground.disk) {
            Ok(()) => ground.is_mounted = true,
            Err(why) => ground.left_out.push(format!("the full disk, as no small one can be mounted: {why}")),
        }
        match Clock::build(ground.folder()) {
            Ok(clock) => ground.clock = Some(clock),
            Err(why) => ground.left_out.push(format!("the clock's steps: {why}")),
        }
        for made in ["data", "recordings"] {
            fs::create_dir(ground.disk.join(made)).unwrap();
        }
        ground
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.disk.join("data")
    }

    /// Of one run of the server.
    pub(crate) fn recordings(&self, run: u32) -> PathBuf {
        self.disk.join(format!("recordings/run-{run:04}"))
    }

    /// Of the people's devices, which are not on the small disk.
    pub(crate) fn devices(&self) -> PathBuf {
        self.folder().join("devices")
    }

    pub(crate) fn log(&self, run: u32) -> File {
        File::create(self.folder().join(format!("logs/run-{run:04}.log"))).unwrap()
    }

    pub(crate) const fn has_disk(&self) -> bool {
        self.is_mounted
    }

    pub(crate) const fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// What the server's environment is to have for its clock.
    pub(crate) fn clock_settings(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        self.clock.as_ref().map_or_else(Vec::new, |clock| {
            vec![("LD_PRELOAD", text(&clock.library)), ("SOAK_CLOCK", text(&clock.step))]
        })
    }

    /// From now on the server's time of day is so much later than the machine's.
    pub(crate) fn step_clock(&self, seconds: i64) {
        // In its place: the server looks at this very file.
        let step = File::options().write(true).open(&self.clock.as_ref().unwrap().step).unwrap();
        step.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for piece in PIECES {
            loop {
                match ballast.write(&vec![0; piece]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("cannot fill the disk: {error}"),
                }
            }
        }
    }

    /// Gives it back.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.disk.join("ballast")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        let has_failed = std::thread::panicking();
        if has_failed && self.is_mounted {
            let _ = fs::remove_file(self.ballast());
            // What was on the disk goes with it.
            let _ = Command::new("cp").arg("-a").arg(&self.disk).arg(folder.path().join("kept")).status();
        }
        if self.is_mounted {
            // A server that is just being killed may still be on it.
            let umount = |how: &[&str]| Command::new("umount").args(how).arg(&self.disk).status();
            if !umount(&["-q"]).is_ok_and(|status| status.success()) {
                let _ = umount(&["-l"]);
            }
        }
        if has_failed {
            say(&format!("logs, recordings and data are kept in {}", folder.keep().display()));
        }
    }
}

/// Disks of test processes that were killed.
fn unmount_what_is_left() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for mount in mounts.lines() {
        let (Some(whose), Some(folder)) = (mount.split(' ').next(), mount.split(' ').nth(1)) else {
            continue;
        };
        let Some(process) = whose.strip_prefix(DISK) else { continue };
        if !Path::new("/proc").join(process).exists() {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

fn mount(folder: &Path) -> Result<(), String> {
    let size = format!("size={DISK_BYTES},mode=700");
    let whose = format!("{DISK}{}", std::process::id());
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, &whose]).arg(folder).output();
    match mounted {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned())
        }
        Err(error) => Err(format!("mount: {error}")),
    }
}

impl Clock {
    /// The compiler is there: the database needs it.
    fn build(folder: &Path) -> Result<Self, String> {
        let clock = Self { library: folder.join("clock.so"), step: folder.join("clock") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&clock.library)
            .arg(source)
            .output();
        match built {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => return Err(format!("cc: {error}")),
        }
        fs::write(&clock.step, 0_i64.to_ne_bytes()).map_err(|error| error.to_string())?;
        Ok(clock)
    }
}
