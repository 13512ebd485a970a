//! Crypto-PAn: prefix-preserving pseudonyms of addresses.
//!
//! J. Xu, J. Fan, M. Ammar, S. Moon: "Prefix-preserving IP address anonymization: measurement-based security evaluation and a
//! new cryptography-based scheme", ICNP 2002. Two addresses that share their first n bits have pseudonyms that share
//! exactly their first n bits. Bit i of a pseudonym is bit i of the address, turned over if the first bit of AES-128 over
//! the address's first i bits, filled up with the pad, is 1. For IPv6 the same over 128 bits.
//!
//! What it does not hide: who can send packets of their own through the capture, or knows some true addresses, learns the
//! prefixes that others share with these. Keep the key as secret as the addresses.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use wire::Addr;

/// Length of a key: 16 bytes for AES, 16 for the pad.
pub const KEY_BYTES: usize = 32;

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not 64 hexadecimal digits (32 bytes); make one with: openssl rand -hex 32")]
pub struct KeyError;

/// The mapping of one key.
pub struct CryptoPan {
    cipher: Aes128,
    pad: [u8; 16],
}

impl CryptoPan {
    /// The mapping of a key.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (mut secret, mut pad) = ([0; 16], [0; 16]);
        secret.copy_from_slice(&key[..16]);
        pad.copy_from_slice(&key[16..]);
        let cipher = Aes128::new(&secret.into());
        let mut block = pad.into();
        cipher.encrypt_block(&mut block);
        Self { cipher, pad: block.into() }
    }

    /// The mapping of a key in hexadecimal.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let mut key = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(KeyError);
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| KeyError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError)?;
        }
        Ok(Self::new(&key))
    }

    /// The pseudonym of an address, of the same version.
    #[must_use]
    pub fn address(&self, addr: Addr) -> Addr {
        if let [.., a, b, c, d] = addr.0
            && addr.is_v4()
        {
            return Addr::v4(self.v4([a, b, c, d]));
        }
        Addr(self.v6(addr.0))
    }

    /// The pseudonym of an IPv4 address.
    #[must_use]
    pub fn v4(&self, addr: [u8; 4]) -> [u8; 4] {
        let mut whole = [0; 16];
        whole[..4].copy_from_slice(&addr);
        let turned = self.turned(u128::from_be_bytes(whole), 32);
        let [a, b, c, d, ..] = (u128::from_be_bytes(whole) ^ turned).to_be_bytes();
        [a, b, c, d]
    }

    /// The pseudonym of an IPv6 address.
    #[must_use]
    pub fn v6(&self, addr: [u8; 16]) -> [u8; 16] {
        let addr = u128::from_be_bytes(addr);
        (addr ^ self.turned(addr, 128)).to_be_bytes()
    }

    /// Which of the first `width` bits of an address, which stands leftmost, are turned over.
    fn turned(&self, addr: u128, width: u32) -> u128 {
        let pad = u128::from_be_bytes(self.pad);
        (0..width).fold(0, |turned, i| {
            // The first i bits of the address; a shift by 128 would be all of them.
            let kept = u128::MAX.checked_shl(128 - i).unwrap_or(0);
            let mut block = ((addr & kept) | (pad & !kept)).to_be_bytes().into();
            self.cipher.encrypt_block(&mut block);
            let [first, ..]: [u8; 16] = block.into();
            turned | u128::from(first >> 7) << (127 - i)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sample key of the authors' implementation.
    const KEY: [u8; KEY_BYTES] = [
        21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121,
        101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
    ];

    /// IPv4: from the sample trace of the authors' implementation. IPv6: from the tests of other implementations.
    #[test]
    fn pseudonyms_are_those_of_the_published_vectors() {
        let pan = CryptoPan::new(&KEY);
        for (addr, pseudonym) in [
            ("128.11.68.132", "135.242.180.132"),
            ("129.118.74.4", "134.136.186.123"),
            ("130.132.252.244", "133.68.164.234"),
            ("141.223.7.43", "141.167.8.160"),
            ("141.233.145.108", "141.129.237.235"),
            ("152.163.225.39", "151.140.114.167"),
            ("156.29.3.236", "147.225.12.42"),
            ("165.247.96.84", "162.9.99.234"),
            ("166.107.77.190", "160.132.178.185"),
            ("192.102.249.13", "252.138.62.131"),
            ("192.215.32.125", "252.43.47.189"),
            ("::1", "78ff:f001:9fc0:20df:8380:b1f1:704:ed"),
            ("::2", "78ff:f001:9fc0:20df:8380:b1f1:704:ef"),
            ("::ffff", "78ff:f001:9fc0:20df:8380:b1f1:704:f838"),
            ("2001:db8::1", "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e"),
            ("2001:db8::2", "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1c"),
        ] {
            let addr: Addr = addr.parse().expect(addr);
            assert_eq!(pan.address(addr).to_string(), pseudonym, "{addr}");
        }
    }

    #[test]
    fn keys_are_64_hexadecimal_digits() {
        let hex: String = KEY.iter().map(|b| format!("{b:02x}")).collect();
        let pan = CryptoPan::from_hex(&format!("{hex}\n")).expect("a key");
        assert_eq!(pan.v4([128, 11, 68, 132]), [135, 242, 180, 132]);
        for bad in ["", &hex[1..], &format!("{hex}00"), &hex.replace('1', "g"), &"+1".repeat(32)] {
            assert!(CryptoPan::from_hex(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn shared_prefixes_stay_exactly_as_long(a: [u8; 4], b: [u8; 4], c: [u8; 16], d: [u8; 16]) {
            let pan = CryptoPan::new(&KEY);
            let shared = |x: u128, y: u128| (x ^ y).leading_zeros();
            let four = |x: [u8; 4]| u128::from(u32::from_be_bytes(x));
            prop_assert_eq!(shared(four(pan.v4(a)), four(pan.v4(b))), shared(four(a), four(b)));
            let six = u128::from_be_bytes;
            prop_assert_eq!(shared(six(pan.v6(c)), six(pan.v6(d))), shared(six(c), six(d)));
        }
    }
}
