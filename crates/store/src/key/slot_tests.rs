use cinderblock_backend::{Backend, Memory};

use super::*;
use crate::object::checksum;

const REPOSITORY: RepositoryId = RepositoryId::from_bytes([9; 16]);

/// Little work: what is tested is not how hard it is.
const EASY: Hardness = Hardness { memory: 64, passes: 1, lanes: 1 };

fn passphrase(text: &str) -> Result<Secret, Error> {
    Secret::passphrase(Zeroizing::new(text.as_bytes().to_vec()))
}

fn key_file() -> Result<Secret, Error> {
    Secret::key_file(format!("cinderblock-key-1:{}", "05".repeat(32)).as_bytes())
}

fn slot(secret: &Secret, hardness: Hardness) -> Result<Slot, Error> {
    let key = MasterKey::from_bytes([7; 32]);
    let id = KeySlotId::from_bytes([3; 16]);
    Slot::with((REPOSITORY, id), &key, (secret, hardness), ([4; 32], "l".to_owned(), 10))
}

fn stored(slot: &Slot) -> Result<(Memory, Vec<u8>), Error> {
    let backend = Memory::new();
    slot.put(&backend)?;
    let bytes = backend.get(&layout::key_slot(slot.id)?, 1 << 20)?;
    Ok((backend, bytes))
}

/// As an attacker would: with a checksum that agrees.
fn load(bytes: &[u8], repair: bool) -> Result<Slot, Error> {
    let mut bytes = bytes.to_vec();
    if let (true, Some(end)) = (repair, bytes.len().checked_sub(32)) {
        let sum = checksum(&[&bytes[..end]]);
        bytes[end..].copy_from_slice(&sum);
    }
    let (backend, id) = (Memory::new(), KeySlotId::from_bytes([3; 16]));
    backend.put(&layout::key_slot(id)?, &[&bytes])?;
    Slot::get(&backend, REPOSITORY, id)
}

/// The wrapped keys were made with another implementation of argon2id, BLAKE3 and AES-GCM.
#[test]
fn golden_bytes() -> Result<(), Error> {
    for (secret, opener, wrapped) in [
        (
            passphrase("open sesame")?,
            &[0, 64, 1, 1][..],
            "2f1d598b2ad248508574489c771aaf9061b3cf34f7bd7c29540c0f60805b2371ed7fcb3039fd4e2eb2ce7024b382bb34",
        ),
        (
            key_file()?,
            &[1],
            "919beea68e3b70a81197256ace06e081b040ddba391a0b2fe81718100ad36a9fa76663e546962237730335dc26f36d68",
        ),
    ] {
        let (_, bytes) = stored(&slot(&secret, EASY)?)?;
        let mut expected = b"CINDRBLK\x0c\x01\0\0\0\0\0\0".to_vec();
        expected.extend([9; 16]);
        expected.extend([3; 16]);
        expected.extend([0; 16]);
        expected.extend(opener);
        expected.extend([4; 32]);
        expected.extend(b"\x01l\x14");
        assert_eq!(bytes[..expected.len()], expected);
        let (found, sum) = bytes[expected.len()..].split_at(48);
        assert_eq!(found.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), wrapped);
        expected.extend(found);
        assert_eq!(sum, checksum(&[&expected]));
        let opened = load(&bytes, false)?.open(&secret)?;
        assert_eq!(opened.map(|key| *key.as_bytes()), Some([7; 32]));
    }
    Ok(())
}

#[test]
fn only_its_own_secret_opens_a_slot() -> Result<(), Error> {
    let slot = slot(&passphrase("open sesame")?, EASY)?;
    for wrong in [passphrase("open sesam")?, passphrase("open sesame ")?, passphrase("x")?, key_file()?] {
        assert!(slot.open(&wrong)?.is_none());
    }
    assert!(slot.open(&passphrase("open sesame")?)?.is_some());
    Ok(())
}

/// Whatever is changed, also by who repairs the checksum: the slot is refused, or does not open. It never gives another key.
#[test]
fn no_changed_slot_gives_a_key() -> Result<(), Error> {
    for secret in [passphrase("open sesame")?, key_file()?] {
        let (_, good) = stored(&slot(&secret, EASY)?)?;
        for bit in 0..(good.len() - 32) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(load(&bad, false).is_err(), "bit {bit}");
            // Each pass is work: what only makes it harder is not tried.
            let Ok(slot) = load(&bad, true) else { continue };
            if !matches!(slot.body.facts.opener, Opener::Passphrase(hardness) if hardness.memory > 4096) {
                assert!(slot.open(&secret).is_ok_and(|key| key.is_none()) || slot.open(&secret).is_err(), "bit {bit}");
            }
        }
        for length in 0..good.len() {
            assert!(load(&good[..length], false).is_err() && load(&good[..length], true).is_err(), "length {length}");
        }
    }
    Ok(())
}

#[test]
fn hostile_parameters_are_refused_before_any_work() -> Result<(), Error> {
    let most = Hardness::MOST;
    for hardness in [
        Hardness { memory: most.memory + 1, ..EASY },
        Hardness { memory: u32::MAX, ..EASY },
        Hardness { passes: most.passes + 1, ..EASY },
        Hardness { passes: u32::MAX, ..EASY },
        Hardness { lanes: most.lanes + 1, ..EASY },
        Hardness { memory: 0, ..EASY },
        Hardness { passes: 0, ..EASY },
        Hardness { lanes: 0, ..EASY },
    ] {
        let mut slot = slot(&passphrase("x")?, EASY)?;
        slot.body.facts.opener = Opener::Passphrase(hardness);
        let (_, bytes) = stored(&slot)?;
        assert!(matches!(load(&bytes, false), Err(Error::Damaged { .. })), "{hardness:?}");
    }
    // Too little memory for its lanes: the library's own bound.
    let mut slot = slot(&passphrase("x")?, EASY)?;
    slot.body.facts.opener = Opener::Passphrase(Hardness { memory: 8, passes: 1, lanes: 4 });
    assert!(slot.open(&passphrase("x")?).is_err());
    Hardness::DEFAULT.check("x")
}
