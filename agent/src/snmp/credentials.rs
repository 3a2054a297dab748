//! Who asks: a community, or a user of the User-based Security Model (RFC 3414).

use std::{fmt, str::FromStr};

use snmp2::Version;

use crate::plan::Secret;

/// Longest community, in bytes; agents allow less.
pub const MAX_COMMUNITY_BYTES: usize = 255;
/// Longest user name, in bytes (RFC 3414, section 5: SIZE (0..32)).
pub const MAX_USER_BYTES: usize = 32;
/// Longest context name, in bytes (RFC 3411, section 5: SIZE (0..255)).
pub const MAX_CONTEXT_BYTES: usize = 255;
/// Shortest password, in bytes (RFC 3414, section 11.2); the SNMP crate panics at an empty one.
pub const MIN_PASSWORD_BYTES: usize = 8;
/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 255;

/// Why credentials can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// No community, or one that no device takes.
    #[error("a community has 1 to {MAX_COMMUNITY_BYTES} bytes")]
    Community,
    /// No user name, or one that no device takes.
    #[error("a user name has 1 to {MAX_USER_BYTES} bytes")]
    UserName,
    /// A context name that no device takes.
    #[error("a context name has at most {MAX_CONTEXT_BYTES} bytes")]
    Context,
    /// The authentication password is too short or too long.
    #[error("an authentication password has {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes")]
    AuthPassword,
    /// The privacy password is too short or too long.
    #[error("a privacy password has {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes")]
    PrivPassword,
    /// Version 3 knows no privacy without authentication.
    #[error("privacy needs an authentication password too")]
    PrivacyWithoutAuth,
    /// Unknown to this agent.
    #[error("no version {0} of SNMP: there are 1, 2 (for 2c) and 3")]
    Version(u32),
    /// No authentication protocol of this name.
    #[error(
        "no authentication protocol {0:?}: there are md5, sha1, sha224, sha256, sha384 and sha512"
    )]
    AuthProtocol(String),
    /// No privacy protocol of this name.
    #[error("no privacy protocol {0:?}: there are des, aes128, aes192 and aes256")]
    PrivProtocol(String),
}

/// How messages are signed (RFC 3414; RFC 7860 for the SHA-2 family).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthProtocol {
    /// HMAC-MD5-96.
    Md5,
    /// HMAC-SHA-96.
    Sha1,
    /// HMAC-128-SHA-224.
    Sha224,
    /// HMAC-192-SHA-256.
    Sha256,
    /// HMAC-256-SHA-384.
    Sha384,
    /// HMAC-384-SHA-512.
    Sha512,
}

impl FromStr for AuthProtocol {
    type Err = CredentialsError;

    /// Case, hyphens and underscores do not count; `sha` is SHA-1, as everywhere in SNMP.
    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        Ok(match plain(text).as_str() {
            "md5" => Self::Md5,
            "sha" | "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return Err(CredentialsError::AuthProtocol(shown(text))),
        })
    }
}

impl fmt::Display for AuthProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

/// How messages are encrypted (RFC 3414, RFC 3826; AES-192 and AES-256 as makers do it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrivProtocol {
    /// CBC-DES.
    Des,
    /// CFB128-AES-128.
    Aes128,
    /// The same with a key of 192 bits.
    Aes192,
    /// The same with a key of 256 bits.
    Aes256,
}

impl FromStr for PrivProtocol {
    type Err = CredentialsError;

    /// Case, hyphens and underscores do not count; `aes` is AES-128.
    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        Ok(match plain(text).as_str() {
            "des" => Self::Des,
            "aes" | "aes128" => Self::Aes128,
            "aes192" => Self::Aes192,
            "aes256" => Self::Aes256,
            _ => return Err(CredentialsError::PrivProtocol(shown(text))),
        })
    }
}

impl fmt::Display for PrivProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Des => "des",
            Self::Aes128 => "aes128",
            Self::Aes192 => "aes192",
            Self::Aes256 => "aes256",
        })
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// The beginning of a text that was given, for an error.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

/// A user of version 3. Without `auth`, nothing is signed; without `privacy`, nothing is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    auth: Option<(AuthProtocol, Secret)>,
    privacy: Option<(PrivProtocol, Secret)>,
    context: String,
}

impl User {
    /// Checks lengths and that nothing is encrypted without being signed. `context` is empty for
    /// the default one.
    pub fn new(
        name: impl Into<String>,
        auth: Option<(AuthProtocol, Secret)>,
        privacy: Option<(PrivProtocol, Secret)>,
        context: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let (name, context) = (name.into(), context.into());
        let password =
            |secret: &Secret| (MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&secret.0.len());
        if name.is_empty() || name.len() > MAX_USER_BYTES {
            return Err(CredentialsError::UserName);
        }
        if context.len() > MAX_CONTEXT_BYTES {
            return Err(CredentialsError::Context);
        }
        if auth.as_ref().is_some_and(|(_, secret)| !password(secret)) {
            return Err(CredentialsError::AuthPassword);
        }
        if privacy.as_ref().is_some_and(|(_, secret)| !password(secret)) {
            return Err(CredentialsError::PrivPassword);
        }
        if privacy.is_some() && auth.is_none() {
            return Err(CredentialsError::PrivacyWithoutAuth);
        }
        Ok(Self { name, auth, privacy, context })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it signs.
    #[must_use]
    pub fn auth(&self) -> Option<&(AuthProtocol, Secret)> {
        self.auth.as_ref()
    }

    /// How it encrypts.
    #[must_use]
    pub fn privacy(&self) -> Option<&(PrivProtocol, Secret)> {
        self.privacy.as_ref()
    }

    /// Which of the device's views it asks for; empty for the default one.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// True when the hash is shorter than the key, so that the key has to be extended: by
    /// Blumenthal's draft (net-snmp and most makers) or by Reeder's (Cisco), which nothing in the
    /// protocol tells apart.
    #[must_use]
    pub fn extends_its_key(&self) -> bool {
        let (Some((auth, _)), Some((privacy, _))) = (&self.auth, &self.privacy) else {
            return false;
        };
        let key = match privacy {
            PrivProtocol::Des | PrivProtocol::Aes128 => 16,
            PrivProtocol::Aes192 => 24,
            PrivProtocol::Aes256 => 32,
        };
        let hash = match auth {
            AuthProtocol::Md5 => 16,
            AuthProtocol::Sha1 => 20,
            AuthProtocol::Sha224 => 28,
            AuthProtocol::Sha256 => 32,
            AuthProtocol::Sha384 => 48,
            AuthProtocol::Sha512 => 64,
        };
        hash < key
    }
}

/// What admits the agent to a device.
///
/// Cisco's per-VLAN views are reached by a community of their own (`community@vlan`), or by a context
/// of version 3 (`vlan-10`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Version 1: no bulk requests, no 64-bit counters.
    V1 {
        /// Sent in clear.
        community: Secret,
    },
    /// Version 2c.
    V2c {
        /// Sent in clear.
        community: Secret,
    },
    /// Version 3.
    V3(User),
}

impl Credentials {
    /// Version 1 with a community.
    #[must_use]
    pub fn v1(community: impl Into<String>) -> Self {
        Self::V1 { community: Secret(community.into()) }
    }

    /// Version 2c with a community.
    #[must_use]
    pub fn v2c(community: impl Into<String>) -> Self {
        Self::V2c { community: Secret(community.into()) }
    }

    /// Says what is wrong with a community that came from outside; a [`User`] has been checked.
    pub fn check(&self) -> Result<(), CredentialsError> {
        match self {
            Self::V1 { community } | Self::V2c { community } => {
                let right = (1..=MAX_COMMUNITY_BYTES).contains(&community.0.len());
                if right { Ok(()) } else { Err(CredentialsError::Community) }
            }
            Self::V3(_) => Ok(()),
        }
    }

    /// Version and security level, without anything secret: `v2c`, `v3 authPriv`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "v1",
            Self::V2c { .. } => "v2c",
            Self::V3(user) => match (&user.auth, &user.privacy) {
                (None, _) => "v3 noAuthNoPriv",
                (Some(_), None) => "v3 authNoPriv",
                (Some(_), Some(_)) => "v3 authPriv",
            },
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::V1 { .. } => Version::V1,
            Self::V2c { .. } => Version::V2C,
            Self::V3(_) => Version::V3,
        }
    }
}

impl From<Secret> for Credentials {
    /// A bare community is version 2c's.
    fn from(community: Secret) -> Self {
        Self::V2c { community }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[test]
    fn protocols_go_by_the_names_that_people_write() {
        for (text, wanted) in [
            ("md5", AuthProtocol::Md5),
            ("SHA", AuthProtocol::Sha1),
            ("sha-1", AuthProtocol::Sha1),
            ("SHA-256", AuthProtocol::Sha256),
            ("sha_512", AuthProtocol::Sha512),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        for (text, wanted) in [
            ("DES", PrivProtocol::Des),
            ("aes", PrivProtocol::Aes128),
            ("AES-192", PrivProtocol::Aes192),
            ("aes256", PrivProtocol::Aes256),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        assert!("sha3".parse::<AuthProtocol>().is_err());
        assert!("3des".parse::<PrivProtocol>().is_err());
        assert!("".parse::<PrivProtocol>().is_err());
    }

    #[test]
    fn every_protocol_is_written_as_it_is_read() {
        for text in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] {
            assert_eq!(text.parse::<AuthProtocol>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        for text in ["des", "aes128", "aes192", "aes256"] {
            assert_eq!(text.parse::<PrivProtocol>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_user_that_no_device_takes_is_refused() {
        let auth = |text: &str| Some((AuthProtocol::Sha1, secret(text)));
        let privacy = |text: &str| Some((PrivProtocol::Aes128, secret(text)));
        let right = User::new("ops", auth("12345678"), privacy("12345678"), "");
        assert!(right.is_ok());
        for (user, why) in [
            (User::new("", None, None, ""), CredentialsError::UserName),
            (User::new("x".repeat(33), None, None, ""), CredentialsError::UserName),
            (User::new("ops", None, None, "x".repeat(256)), CredentialsError::Context),
            (User::new("ops", auth("1234567"), None, ""), CredentialsError::AuthPassword),
            (User::new("ops", auth(""), None, ""), CredentialsError::AuthPassword),
            (
                User::new("ops", auth("12345678"), privacy("short"), ""),
                CredentialsError::PrivPassword,
            ),
            (User::new("ops", None, privacy("12345678"), ""), CredentialsError::PrivacyWithoutAuth),
        ] {
            assert_eq!(user, Err(why));
        }
    }

    #[test]
    fn a_debug_dump_shows_no_secret() {
        let user = User::new(
            "ops",
            Some((AuthProtocol::Sha256, secret("auth-canary"))),
            Some((PrivProtocol::Aes256, secret("priv-canary"))),
            "",
        );
        let user = user.expect("long enough");
        for credentials in
            [Credentials::v1("v1-canary"), Credentials::v2c("v2-canary"), Credentials::V3(user)]
        {
            let dump = format!("{credentials:?}");
            assert!(!dump.contains("canary"), "{dump}");
        }
    }

    #[test]
    fn a_key_is_extended_where_the_hash_is_shorter() {
        let user = |auth, privacy| {
            User::new(
                "ops",
                Some((auth, secret("12345678"))),
                Some((privacy, secret("12345678"))),
                "",
            )
            .expect("long enough")
        };
        for (auth, privacy, extended) in [
            (AuthProtocol::Md5, PrivProtocol::Aes128, false),
            (AuthProtocol::Md5, PrivProtocol::Aes192, true),
            (AuthProtocol::Sha1, PrivProtocol::Aes256, true),
            (AuthProtocol::Sha224, PrivProtocol::Aes192, false),
            (AuthProtocol::Sha224, PrivProtocol::Aes256, true),
            (AuthProtocol::Sha256, PrivProtocol::Aes256, false),
        ] {
            assert_eq!(user(auth, privacy).extends_its_key(), extended, "{auth} {privacy}");
        }
        assert!(!User::new("ops", None, None, "").expect("a name").extends_its_key());
    }

    #[test]
    fn a_community_from_outside_has_a_length() {
        assert!(Credentials::v2c("public").check().is_ok());
        assert!(Credentials::v1("").check().is_err());
        assert!(Credentials::v2c("x".repeat(256)).check().is_err());
    }
}
