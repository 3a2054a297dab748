//! Who asks a device, as the collector says it.

use proto::v1;

use crate::{
    plan::Secret,
    snmp::{Credentials, CredentialsError, User},
};

/// Credentials that a device may take. No message of the errors shows a secret.
pub(super) fn credentials(raw: &v1::SnmpCredential) -> Result<Credentials, CredentialsError> {
    let credentials = match raw.version {
        1 => Credentials::v1(&raw.community),
        2 => Credentials::v2c(&raw.community),
        3 => Credentials::V3(user(raw)?),
        version => return Err(CredentialsError::Version(version)),
    };
    credentials.check()?;
    Ok(credentials)
}

fn user(raw: &v1::SnmpCredential) -> Result<User, CredentialsError> {
    let secret = |text: &str| Secret(text.to_owned());
    let auth = match raw.auth_protocol.as_str() {
        "" => None,
        protocol => Some((protocol.parse()?, secret(&raw.auth_password))),
    };
    let privacy = match raw.priv_protocol.as_str() {
        "" => None,
        protocol => Some((protocol.parse()?, secret(&raw.priv_password))),
    };
    User::new(&raw.user, auth, privacy, &raw.context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snmp::{AuthProtocol, PrivProtocol};

    fn right() -> v1::SnmpCredential {
        v1::SnmpCredential {
            version: 3,
            user: "vigie".to_owned(),
            auth_protocol: "sha256".to_owned(),
            auth_password: "authenticate".to_owned(),
            priv_protocol: "aes".to_owned(),
            priv_password: "encrypt-this".to_owned(),
            context: "vlan-10".to_owned(),
            ..v1::SnmpCredential::default()
        }
    }

    #[test]
    fn each_version_is_read() {
        let secret = |text: &str| Secret(text.to_owned());
        let user = User::new(
            "vigie",
            Some((AuthProtocol::Sha256, secret("authenticate"))),
            Some((PrivProtocol::Aes128, secret("encrypt-this"))),
            "vlan-10",
        );
        assert_eq!(credentials(&right()), user.map(Credentials::V3));
        let open = v1::SnmpCredential {
            version: 3,
            user: "vigie".to_owned(),
            ..v1::SnmpCredential::default()
        };
        assert_eq!(credentials(&open), User::new("vigie", None, None, "").map(Credentials::V3));
        for (version, wanted) in [(1, Credentials::v1("c")), (2, Credentials::v2c("c"))] {
            let community = "c".to_owned();
            let raw = v1::SnmpCredential { version, community, ..v1::SnmpCredential::default() };
            assert_eq!(credentials(&raw), Ok(wanted));
        }
    }

    #[test]
    fn what_no_device_takes_is_refused() {
        type Change = fn(&mut v1::SnmpCredential);
        let cases: [(Change, CredentialsError); 6] = [
            (|raw| raw.version = 4, CredentialsError::Version(4)),
            (|raw| raw.version = 2, CredentialsError::Community),
            (|raw| raw.user.clear(), CredentialsError::UserName),
            (
                |raw| raw.auth_protocol = "rot13".to_owned(),
                CredentialsError::AuthProtocol("rot13".to_owned()),
            ),
            (|raw| raw.priv_password = "short".to_owned(), CredentialsError::PrivPassword),
            (|raw| raw.auth_protocol.clear(), CredentialsError::PrivacyWithoutAuth),
        ];
        for (change, why) in cases {
            let mut raw = right();
            change(&mut raw);
            assert_eq!(credentials(&raw), Err(why));
        }
    }
}
