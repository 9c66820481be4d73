//! How what is open is read and written: through the kernel's cache, past it, or past us.
//!
//! The kernel takes one file in one way at a time (`fs/fuse/iomode.c`): while somebody reads a file past us, nobody can open it otherwise, so writers
//! are refused. That is for files that are not written to again, which the set names ([`Recorder::is_passthrough`]).
//!
//! [`Recorder::is_passthrough`]: crate::capture::ordered::Recorder::is_passthrough

use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::device::Device;
use super::wire::BackingId;
use super::wire::flags::opened;

/// How something open is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the kernel's cache.
    Cached,
    /// The same, and it may be mapped and written so.
    Mappable,
    /// Past the cache. Who only writes has no use for it: what is written would be copied there first, page by page, and a write that begins within a
    /// page would come in two halves. What others have cached of it the kernel drops.
    PastCache,
    /// Past us.
    PastLayer(BackingId),
}

impl Way {
    /// What the kernel is told (`FOPEN_…`).
    pub(super) fn flags(self) -> u32 {
        match self {
            Self::Cached | Self::Mappable => opened::KEEP_CACHE | opened::NOFLUSH,
            Self::PastCache => opened::DIRECT_IO | opened::KEEP_CACHE | opened::NOFLUSH,
            // With the cache kept, the kernel refuses it.
            Self::PastLayer(_) => opened::PASSTHROUGH | opened::NOFLUSH,
        }
    }
}

/// A file that the kernel was lent.
#[derive(Debug)]
pub(super) struct Lent {
    device: Arc<Device>,
    id: BackingId,
}

impl Lent {
    pub(super) fn new(device: &Arc<Device>, id: BackingId) -> Self {
        Self { device: Arc::clone(device), id }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Of a mount that is gone, all is forgotten.
        let _ = self.device.forget(self.id);
    }
}

/// How one file is open.
#[derive(Debug, Default)]
pub(super) struct Ways {
    cached: usize,
    mappable: usize,
    past_cache: usize,
    past_layer: usize,
    lent: Option<Lent>,
}

impl Ways {
    /// How a file is opened that is to be open so from now on, until it is [left](Self::leave); `lend` lends it to the kernel, if it may be read past us.
    pub(super) fn enter(&mut self, access: OFlags, lend: impl FnOnce() -> Option<Lent>) -> Result<Way, Errno> {
        let is_read_only = access == OFlags::RDONLY;
        if self.lent.is_some() && !is_read_only {
            return Err(Errno::TXTBSY);
        }
        if is_read_only && self.lent.is_none() && self.cached + self.mappable + self.past_cache == 0 {
            self.lent = lend();
        }
        let (way, count) = match &self.lent {
            Some(lent) => (Way::PastLayer(lent.id), &mut self.past_layer),
            None if access == OFlags::RDWR => (Way::Mappable, &mut self.mappable),
            None if access == OFlags::WRONLY && self.mappable == 0 => (Way::PastCache, &mut self.past_cache),
            None => (Way::Cached, &mut self.cached),
        };
        *count += 1;
        Ok(way)
    }

    /// One that was open so is not any more.
    pub(super) fn leave(&mut self, way: Way) {
        let count = match way {
            Way::Cached => &mut self.cached,
            Way::Mappable => &mut self.mappable,
            Way::PastCache => &mut self.past_cache,
            Way::PastLayer(_) => &mut self.past_layer,
        };
        *count -= 1;
        if self.past_layer == 0 {
            self.lent = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent() -> Option<Lent> {
        // Nothing was lent there: to forget it fails, as after an unmount.
        Device::open().ok().map(|device| Lent::new(&Arc::new(device), BackingId(7)))
    }

    #[test]
    fn who_only_writes_goes_past_the_cache_unless_it_may_be_mapped() {
        let mut ways = Ways::default();
        assert_eq!(ways.enter(OFlags::WRONLY, || None), Ok(Way::PastCache));
        assert_eq!(ways.enter(OFlags::RDONLY, || None), Ok(Way::Cached));
        assert_eq!(ways.enter(OFlags::RDWR, || None), Ok(Way::Mappable));
        assert_eq!(ways.enter(OFlags::WRONLY, || None), Ok(Way::Cached));
        ways.leave(Way::Mappable);
        assert_eq!(ways.enter(OFlags::WRONLY, || None), Ok(Way::PastCache));
    }

    #[test]
    fn while_it_is_read_past_us_nobody_opens_it_otherwise() {
        let mut ways = Ways::default();
        let past = Ok(Way::PastLayer(BackingId(7)));
        assert_eq!(ways.enter(OFlags::RDONLY, lent), past);
        assert_eq!(ways.enter(OFlags::RDONLY, || None), past);
        for access in [OFlags::WRONLY, OFlags::RDWR] {
            assert_eq!(ways.enter(access, || None), Err(Errno::TXTBSY));
        }
        ways.leave(Way::PastLayer(BackingId(7)));
        assert_eq!(ways.enter(OFlags::WRONLY, || None), Err(Errno::TXTBSY));
        ways.leave(Way::PastLayer(BackingId(7)));
        assert_eq!(ways.enter(OFlags::WRONLY, || None), Ok(Way::PastCache));
        assert_eq!(ways.enter(OFlags::RDONLY, lent), Ok(Way::Cached), "somebody writes to it");
    }
}
