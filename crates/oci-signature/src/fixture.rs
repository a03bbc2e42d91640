//! Keys and signatures of tests, made with OpenSSL; the private keys are gone.

/// What [`SIGNED`] signed.
pub const MESSAGE: &[u8] = b"a message";

/// Kind of key, the key (base64 of its DER), and a signature of [`MESSAGE`].
pub const SIGNED: &[(&str, &str, &str)] = &[
    (
        "ECDSA P-256",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQClVdFRIhKzkSDmcgT17TNavgtsdNCOzkqNu7TQko+BPCIX3uBW4qrlxTskHKlYoxRxGG4FRJMaQVxMUyN84KA==",
        "MEUCIQCZBIo1PB1iB5rgn0GehmYDggpJlNglvlfjxyaBxyhtDQIgQ4FssaL+oBSggO3tLrLX/tyUbXrrSYVxr0qIOXr2oZE=",
    ),
    (
        "ECDSA P-384",
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEg3pKdl+MNMFbV3qjKqseYzKZpz0I2G4VSFLk1CGx5fO6X81bPvjjkari4B0gb/hR66WR5e5shnusyjcpxTwubVvtzYlkkg8k7Vi7n8ZLd5LIQXV1U86DyMQubLwDxp3s",
        "MGUCMQD7j7MWoQmHA24ZTWbjZucgqpzq/uH8rDRZEgLZgHeCDrJWLmQHvGvmOrGGeSZx+nUCMF+PWyeavV46MVMV24E4JYKxncz88P2HfM/vFI3HRSPTe2Vf3dgxhKqlvLuxyohmEw==",
    ),
    (
        "ECDSA P-384",
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEp+B5ONVzniV3A5Je7DfRCN2Le1tfPnydQ7+wfcgG916FLtFcKA7OtZOYcL6NYncpUtyspAS+d0ZAHBLNiN8IvOEpbwQJknYcq/L5jifA1qQIostHhNmAZRmPEMCaEou0",
        "MGUCMQDlpXW3oRbVjSER9KccT4A0guGepRUTeZsPHStzRkYPxws+TZOaN7e+7raNQnsZgGkCMHBRm62ABkcnv02FBdsUgv9MvI7Novp2QNp7kLTvHNXSSxy+6+jTgFkZGAWZGyZXbg==",
    ),
    (
        "ECDSA P-521",
        "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBCIcZ+4k3TecGA6ggMH3YVX8j86QRuYOuikKEMy4VqlAv4PIqeWWO+dTr/iWglQQvPip4yghlU2QIvqbENzmdXfYBdsErqZny5HFvfYniCS1qj/SjcYhkwOOEkDiHnYN+BVgEAzxandJAIZn8fGtrGLYZ8Gm7BIrlpqOiTVYtEgNQIWo=",
        "MIGIAkIAhi7gJy3dSIRYW6doGODCIGVdXUWMX9ysZlsTfbFuZfe7lNhVy2P82T/SbdSpC4Q0xXkSkRsDxDQfSSvF1M8uG2sCQgDEIFtamvUZqrsL56JVjbz9Qdced1TJOBh0I2nZ99h+RD/AzQ2RAMpdDJOK9itsXxe8lSPbSVC/xRe3As1BhJdnOg==",
    ),
    (
        "ECDSA P-521",
        "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAbpVbTIT1iUlaOljlWNe8Waj6EutM/W/UzWPbKdsNQeOK3fMZP+OS1iJMdrRmuOyvu9yqFlCNEkPK1w5k12++AVUBKADDnxGfcDENGCZfWIAqOJPUXCuyDFmsJ0ORoh1pvF5uCcR1l2TH8WT6eDBm4cCAkOLfvY2Rl8gLwQPFA4YGYlM=",
        "MIGIAkIAmzLXFGRUsynrpyl/xp2/zZu3MTYmGk1FM14qeLUeVXX3DQdhgzYWIhyMl7Wekk26nRpp6G9i2X3bUD3Ix9uEPSsCQgDFdQofMc1oki145X+RVRIcOqsuVbFqgEvM9Xz69QB25X4Co9Ia9bnNZP9yJKoMFl23wTHHBa9IL/+0AWg35jzbcQ==",
    ),
    (
        "RSA",
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuW9fnxh3+bLaGESCPcdoT1ziqr77rXu7I1gB+EMExV3mZE95pqa1jtvnuVRp1xgUSoVvkK3macY+b4PiMyDgU5zTvQfZ+ogtTEW+luLGbYssl4cMSQb0weHNshTNhPBWpi7fNZbgtTiQJ/ZloKpClfw+Xh79sw+8szFwaH60HMI4NHcXNHNHZYkywDq/NS7WK0ut7cIuHdT/Ob1GZA9FOdP1PV2hIv8Si3iRvr9Tb3bT7BLPrG4GxQ886BxVH2tjjqYuNfqWnUgj4EbBgd4wpmP6eopws6k/muoUrusyc2r7FDAZts53tdSyJZqO4jDkJZ0ZeDcPKiBJQqA8/dvQIwIDAQAB",
        "b14LmjhNLFa8yq4E99pK7pfG25LRYMSAeMjyyk4mqhoimFMrpIpMD2MvZj6Vom66LhCeZQ6mCvYUaCiyBVIVaZYErpOt431VD4Dj1dY3bHnTyKuZ1bPRuwEERPoggezUnpCd9B8FpiChfUcmGFnC4/bIW3Ml4hmMm9dEZ2FNM///ov4JKIYqgXLraVmKvmt+yWO/Tj3K5O7tqrVSw/DPG33ZZzpTTL/X+05M7UnD05BGQqAMlKkHrHPjI4nyK2nnfNrGcNd7A8VDHjBm3bLz5FC0cTiquqiAtyN4AfTdfMADJmGLJ2HHmpPyN9Myt5x4FH3yWsq+EE8M+T1C8VB53w==",
    ),
    (
        "Ed25519",
        "MCowBQYDK2VwAyEALEwnIE0icaC6djsN7bIA/pWu7Sjrv01fphpu7/hK6Vc=",
        "BP7yZPidwgaGqPMe4NJOBnS5pAuzoc84Z6+fJRFFUFCc/QaDnI1chPnr0cgNt6j/dhOJzfnuWhEMyZgErN1xAA==",
    ),
];

/// An RSA key of 1024 bits.
pub const SMALL_RSA: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDXYhj97wPdMDMlIY5sZnEEFfU61VfL5RIzNFt+ZZwUnu10ZUGy5B5GRMdulfU2/GROtSPojK0uuw1bjmu4qQkXd8uXFtj6trZZYarehFt5m6vK01L0wR992tO2jvq8+xZO9GQSg/vtQOMbZxDaTqPQ4G/aB0bpsTLZyLG5ubnGBwIDAQAB";

/// The PEM of a key.
pub fn text(key: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
}

/// A signer with an ECDSA P-256 key.
pub struct Signer(aws_lc_rs::signature::EcdsaKeyPair);

impl Signer {
    /// One with a new key.
    pub fn new() -> Self {
        let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        Self(aws_lc_rs::signature::EcdsaKeyPair::generate(algorithm).unwrap())
    }

    /// Its public key.
    pub fn public(&self) -> crate::PublicKey {
        use aws_lc_rs::signature::KeyPair as _;
        crate::PublicKey::from_der(self.0.public_key().as_ref()).unwrap()
    }

    /// A signature in base64.
    pub fn sign(&self, message: &[u8]) -> String {
        let signature = self.0.sign(&aws_lc_rs::rand::SystemRandom::new(), message).unwrap();
        base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signature.as_ref())
    }
}
