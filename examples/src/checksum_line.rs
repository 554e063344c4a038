//! The line that GNU `sha256sum` prints for a file, and that `sha256sum --check` reads.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Appends the line for `path` to `out`: digest, two spaces, name, newline.
///
/// A name with a backslash, a newline or a carriage return gets those escaped as `\\`, `\n` and `\r`, and the line
/// then begins with a backslash. All other bytes are written as they are, valid UTF-8 or not.
pub fn write(out: &mut Vec<u8>, digest: &[u8], path: &Path) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let name = path.as_os_str().as_bytes();
    let odd = name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    if odd {
        out.push(b'\\');
    }
    for byte in digest {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.extend(b"  ");
    if odd {
        escape(out, name)
    } else {
        out.extend(name)
    }
    out.push(b'\n');
}

/// Appends `name` with the three bytes escaped that would break a line.
pub fn escape(out: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn line(name: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &[0x0a, 0xff], Path::new(OsStr::from_bytes(name)));
        out
    }

    #[test]
    fn a_plain_name_is_not_escaped() {
        assert_eq!(line(b"a b\t*"), b"0aff  a b\t*\n");
    }

    #[test]
    fn a_name_that_would_break_the_line_is_escaped_and_marked() {
        assert_eq!(line(b"a\nb"), b"\\0aff  a\\nb\n");
        assert_eq!(line(b"a\rb"), b"\\0aff  a\\rb\n");
        assert_eq!(line(b"a\\b"), b"\\0aff  a\\\\b\n");
    }

    #[test]
    fn bytes_that_are_no_utf8_pass_through() {
        assert_eq!(line(b"\xff\xfe"), b"0aff  \xff\xfe\n");
    }
}
