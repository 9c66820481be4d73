//! What Linux does to a mode and an access ACL when the other is set (acl(5), "CORRESPONDENCE BETWEEN ACL ENTRIES AND FILE PERMISSION
//! BITS"; `posix_acl_chmod` and `posix_acl_update_mode` of the kernel).

/// The attribute that an access ACL is kept in.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";

/// Its header, a version; each entry is tag, permissions and id.
const HEADER_LEN: usize = 4;
const ENTRY_LEN: usize = 8;
const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

fn tags(acl: &[u8]) -> impl Iterator<Item = u16> {
    let entries = acl.get(HEADER_LEN..).unwrap_or_default().chunks_exact(ENTRY_LEN);
    entries.map(|entry| u16::from_le_bytes([entry[0], entry[1]]))
}

/// Whether an ACL says no more than a mode does: then none is kept.
pub(super) fn is_only_mode(acl: &[u8]) -> bool {
    tags(acl).all(|tag| matches!(tag, OWNER | GROUP | OTHER))
}

/// What an ACL becomes when permission bits are set.
pub(super) fn set_mode(acl: &mut [u8], mode: u32) {
    let group = if tags(acl).any(|tag| tag == MASK) { MASK } else { GROUP };
    let entries = acl.get_mut(HEADER_LEN..).unwrap_or_default().chunks_exact_mut(ENTRY_LEN);
    for entry in entries {
        let bits = match u16::from_le_bytes([entry[0], entry[1]]) {
            OWNER => mode >> 6,
            tag if tag == group => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        entry[2..4].copy_from_slice(&((bits & 7) as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (tag, permissions) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(u32::MAX.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_mask_takes_the_bits_of_the_group() {
        let mut with_mask = acl(&[(OWNER, 7), (2, 5), (GROUP, 5), (MASK, 7), (OTHER, 4)]);
        set_mode(&mut with_mask, 0o4641);
        assert_eq!(with_mask, acl(&[(OWNER, 6), (2, 5), (GROUP, 5), (MASK, 4), (OTHER, 1)]));
        assert!(!is_only_mode(&with_mask));
        let mut without = acl(&[(OWNER, 7), (GROUP, 5), (OTHER, 4)]);
        set_mode(&mut without, 0o070);
        assert_eq!(without, acl(&[(OWNER, 0), (GROUP, 7), (OTHER, 0)]));
        assert!(is_only_mode(&without));
        set_mode(&mut [1, 2], 0);
    }
}
