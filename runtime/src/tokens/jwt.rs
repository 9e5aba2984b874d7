//! A token, in the compact form of RFC 7515: `header.claims.signature`, each in base64 without padding.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{
    Header, Validation, crypto,
    dangerous::insecure_decode_claims,
    decode, encode,
    errors::{Error, ErrorKind},
};
use serde::{Deserialize, Serialize};
use switchboard_engine::UserId;

use super::{
    jwk::KeySet,
    key::{Algorithm, Key},
};

/// The most that a token may have.
pub const TOKEN_BYTES: usize = 4096;

/// How far clocks may be apart, in seconds.
const LEEWAY_S: i64 = 10;

/// What tokens have to say of where they come from and whom they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `iss` of this server's own tokens. A key of another issuer has that issuer's name with it.
    pub issuer: String,
    /// `aud`, of all.
    pub audience: String,
}

/// What a token says (RFC 7519 section 4.1), once it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is: `sub`.
    pub user: UserId,
    /// The session that it came from, and ends with: `sid`; of this server's own tokens alone.
    pub session: Option<String>,
    /// When it was issued, in seconds since 1970: `iat`.
    pub issued_at: i64,
    /// When it ends: `exp`.
    pub expires_at: i64,
    /// What it is called: `jti`; may be empty.
    pub id: String,
}

/// Why a token is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It has not the form of one.
    #[error("this is no signed token: three parts in base64url, joined by dots, at most {TOKEN_BYTES} bytes")]
    Form,
    /// Its header cannot be read, or demands what is not known here.
    #[error("the token's header must have `alg` and `kid`, and nothing critical")]
    Header,
    /// No key has the id that it names.
    #[error("the token was signed with a key that is not, or no longer, known here")]
    UnknownKey,
    /// It says another algorithm than its key's.
    #[error("the token says another algorithm than its key is for")]
    Algorithm,
    /// The signature is not its key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its claims cannot be read.
    #[error("the token's claims must have `sub`, `iss`, `aud`, `iat` and `exp`, of the right types")]
    Claims,
    /// Somebody else has issued it, or it is for somebody else.
    #[error("the token is not of this issuer, or not for this server")]
    Foreign,
    /// It is not valid yet.
    #[error("the token is not valid yet: check the clocks")]
    Early,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// Its `sub` is no user's id.
    #[error("the token's `sub` cannot be the id of a user")]
    Subject,
}

/// What decides which key a token is for. The library's own header has no place for names of algorithms that it does not know.
#[derive(Deserialize)]
struct Named {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<String>,
    /// RFC 7515 section 4.1.11: what has to be understood. Nothing is.
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
}

#[derive(Deserialize)]
struct Said {
    iss: String,
    sub: String,
    aud: Audience,
    iat: f64,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    sid: Option<String>,
}

/// One name, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Several(several) => several.iter().any(|one| one == name),
        }
    }
}

/// Signs claims; none if the key cannot sign.
#[must_use]
pub fn sign(claims: &Claims, rules: &Rules, key: &Key) -> Option<String> {
    let header = Header { kid: Some(key.kid().to_owned()), ..Header::new(key.algorithm().in_library()) };
    let body = NewClaims {
        iss: &rules.issuer,
        sub: claims.user.as_str(),
        aud: &rules.audience,
        iat: claims.issued_at,
        nbf: claims.issued_at,
        exp: claims.expires_at,
        jti: &claims.id,
        sid: claims.session.as_deref(),
    };
    encode(&header, &body, &key.signing()?).ok()
}

/// Reads a token, if everything about it is right at this time.
///
/// # Errors
/// The first thing that is not. Nothing of the token is in it.
pub fn check(token: &str, keys: &KeySet, rules: &Rules, now_s: i64) -> Result<Claims, TokenFault> {
    if token.len() > TOKEN_BYTES {
        return Err(TokenFault::Form);
    }
    let (header, _) = token.split_once('.').ok_or(TokenFault::Form)?;
    let header = BASE64URL_NOPAD.decode(header.as_bytes()).map_err(|_| TokenFault::Form)?;
    let header: Named = serde_json::from_slice(&header).map_err(|_| TokenFault::Header)?;
    let is_jwt = |typ: &String| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    if header.crit.is_some() || !header.typ.as_ref().is_none_or(is_jwt) {
        return Err(TokenFault::Header);
    }
    let key = keys.find(&header.kid).ok_or(TokenFault::UnknownKey)?;
    // The key alone says what it is for; a token that says otherwise lies about one of the two.
    if Algorithm::named(&header.alg) != Some(key.algorithm()) {
        return Err(TokenFault::Algorithm);
    }
    let is_known = header.alg == key.algorithm().name();
    let said = if is_known { signed_by(token, key) } else { signed_by_another_name(token, key) };
    let said = said.map_err(|error| fault(&error))?;
    let issuer = key.issuer().unwrap_or(&rules.issuer);
    if said.iss != issuer || !said.aud.has(&rules.audience) {
        return Err(TokenFault::Foreign);
    }
    let (issued_at, expires_at) = (seconds(said.iat)?, seconds(said.exp)?);
    let begins_at = said.nbf.map_or(Ok(issued_at), seconds)?.max(issued_at);
    if begins_at > now_s + LEEWAY_S {
        return Err(TokenFault::Early);
    }
    if expires_at + LEEWAY_S <= now_s {
        return Err(TokenFault::Expired);
    }
    let user = UserId::new(&said.sub).map_err(|_| TokenFault::Subject)?;
    // Another issuer's sessions are none of ours.
    let session = said.sid.filter(|_| key.issuer().is_none());
    Ok(Claims { user, session, issued_at, expires_at, id: said.jti.unwrap_or_default() })
}

/// The claims of a token that this key has signed.
fn signed_by(token: &str, key: &Key) -> Result<Said, Error> {
    let mut validation = Validation::new(key.algorithm().in_library());
    // What claims have to say is compared by `check`: the library would ask the system's clock, and not for `iat`.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    Ok(decode::<Said>(token, &key.verifying(), &validation)?.claims)
}

/// The same of a token that calls EdDSA by a name that the library does not know: `Ed25519` (RFC 9864).
fn signed_by_another_name(token: &str, key: &Key) -> Result<Said, Error> {
    let (signed, signature) = token.rsplit_once('.').ok_or(ErrorKind::InvalidToken)?;
    if !crypto::verify(signature, signed.as_bytes(), &key.verifying(), key.algorithm().in_library())? {
        return Err(ErrorKind::InvalidSignature.into());
    }
    insecure_decode_claims(token)
}

/// What the library says of a token whose header is right.
#[allow(clippy::wildcard_enum_match_arm, reason = "the library may add some")]
fn fault(error: &Error) -> TokenFault {
    match error.kind() {
        ErrorKind::InvalidToken | ErrorKind::Base64(_) => TokenFault::Form,
        ErrorKind::InvalidAlgorithm => TokenFault::Algorithm,
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => TokenFault::Claims,
        _ => TokenFault::Signature,
    }
}

/// Whole seconds of a time, which may have parts of one (RFC 7519 section 2).
#[allow(clippy::cast_possible_truncation, reason = "it is within the range")]
fn seconds(time: f64) -> Result<i64, TokenFault> {
    // Until the year 9999: no arithmetic with it overflows.
    if (0.0..253_402_300_800.0).contains(&time) { Ok(time as i64) } else { Err(TokenFault::Claims) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;

    fn rules() -> Rules {
        Rules { issuer: "switchboard".into(), audience: "chat".into() }
    }

    fn claims() -> Claims {
        let user = UserId::new("alice").unwrap();
        Claims { user, session: Some("abc".into()), issued_at: NOW, expires_at: NOW + 60, id: "7".into() }
    }

    fn set(keys: &[&Key]) -> KeySet {
        let mut set = KeySet::default();
        keys.iter().for_each(|key| set.add((*key).clone()).unwrap());
        set
    }

    fn part(json: &Value) -> String {
        BASE64URL_NOPAD.encode(json.to_string().as_bytes())
    }

    /// A token of these parts, signed by the key.
    fn forged(key: &Key, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signing = key.signing().unwrap();
        let signature = crypto::sign(signed.as_bytes(), &signing, key.algorithm().in_library()).unwrap();
        format!("{signed}.{signature}")
    }

    #[test]
    fn what_is_signed_is_read_again_with_each_algorithm() {
        for algorithm in [Algorithm::Hs256, Algorithm::EdDsa] {
            let key = Key::generate(algorithm, NOW).unwrap();
            let token = sign(&claims(), &rules(), &key).unwrap();
            let other = Key::generate(algorithm, NOW).unwrap();
            let keys = KeySet::parse(&set(&[&other, &key]).to_json()).unwrap();
            assert_eq!(check(&token, &keys, &rules(), NOW), Ok(claims()));
            assert_eq!(check(&token, &set(&[&other]), &rules(), NOW), Err(TokenFault::UnknownKey));
            let renamed = Key { kid: key.kid.clone(), ..other };
            assert_eq!(check(&token, &set(&[&renamed]), &rules(), NOW), Err(TokenFault::Signature));
        }
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed() {
        let key = Key::generate(Algorithm::Hs256, NOW).unwrap();
        let (token, keys) = (sign(&claims(), &rules(), &key).unwrap(), set(&[&key]));
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(check(&changed, &keys, &rules(), NOW).is_err(), "{place}");
        }
        for cut in 0..token.len() {
            assert!(check(&token[..cut], &keys, &rules(), NOW).is_err(), "{cut}");
        }
    }

    #[test]
    fn no_token_chooses_its_algorithm() {
        let (hmac, ed) =
            (Key::generate(Algorithm::Hs256, NOW).unwrap(), Key::generate(Algorithm::EdDsa, NOW).unwrap());
        let body = json!({"iss": "switchboard", "sub": "alice", "aud": "chat", "iat": NOW, "exp": NOW + 60});
        let Material::Ed25519 { public, .. } = &ed.material else { panic!("an Ed25519 key") };
        // The oldest trick: the public key, which everybody knows, as the secret of an HMAC.
        let confused = Key { material: Material::Hmac(public.clone()), ..ed.clone() };
        let keys = set(&[&hmac, &ed]);
        for (alg, signer) in
            [("HS256", &confused), ("EdDSA", &confused), ("none", &hmac), ("HS512", &hmac), ("ES256", &ed)]
        {
            let token = forged(signer, &json!({"alg": alg, "kid": signer.kid}), &body);
            let fault = check(&token, &keys, &rules(), NOW).unwrap_err();
            assert!(matches!(fault, TokenFault::Algorithm | TokenFault::Signature), "{alg}: {fault}");
        }
        let unsigned = format!("{}.{}.", part(&json!({"alg": "none", "kid": hmac.kid})), part(&body));
        assert_eq!(check(&unsigned, &keys, &rules(), NOW), Err(TokenFault::Algorithm));
    }

    use super::super::key::Material;

    #[test]
    fn headers_and_claims_must_be_right() {
        let key = Key::generate(Algorithm::Hs256, NOW).unwrap();
        let keys = set(&[&key]);
        let header = json!({"alg": "HS256", "kid": key.kid, "typ": "JWT"});
        let body =
            json!({"iss": "switchboard", "sub": "alice", "aud": ["x", "chat"], "iat": NOW, "exp": NOW + 60});
        let verdict = |header: &Value, body: &Value| check(&forged(&key, header, body), &keys, &rules(), NOW);
        let with = |of: &Value, name: &str, value: Value| {
            let mut changed = of.clone();
            changed[name] = value;
            changed
        };
        let without = |of: &Value, name: &str| {
            let mut changed = of.clone();
            changed.as_object_mut().unwrap().remove(name);
            changed
        };
        assert!(verdict(&header, &body).is_ok());
        for (name, value) in
            [("crit", json!(["exp"])), ("typ", json!("JWE")), ("kid", json!(7)), ("alg", json!(null))]
        {
            assert_eq!(verdict(&with(&header, name, value), &body), Err(TokenFault::Header), "{name}");
        }
        for name in ["alg", "kid"] {
            assert_eq!(verdict(&without(&header, name), &body), Err(TokenFault::Header), "{name}");
        }
        for name in ["iss", "sub", "aud", "iat", "exp"] {
            assert_eq!(verdict(&header, &without(&body, name)), Err(TokenFault::Claims), "{name}");
        }
        for (name, value, fault) in [
            ("iss", json!("somebody"), TokenFault::Foreign),
            ("aud", json!("another"), TokenFault::Foreign),
            ("aud", json!([]), TokenFault::Foreign),
            ("sub", json!("System"), TokenFault::Subject),
            ("sub", json!(""), TokenFault::Subject),
            ("sub", json!("x".repeat(200)), TokenFault::Subject),
            ("exp", json!("tomorrow"), TokenFault::Claims),
            ("exp", json!(1e300), TokenFault::Claims),
            ("exp", json!(-1), TokenFault::Claims),
            ("exp", json!(NOW - 10), TokenFault::Expired),
            ("iat", json!(NOW + 11), TokenFault::Early),
            ("nbf", json!(NOW + 11), TokenFault::Early),
        ] {
            assert_eq!(verdict(&header, &with(&body, name, value.clone())), Err(fault), "{name}: {value}");
        }
        for (name, value) in
            [("exp", json!(NOW - 9)), ("iat", json!(NOW + 10)), ("nbf", json!(NOW as f64 + 9.5))]
        {
            assert!(verdict(&header, &with(&body, name, value)).is_ok(), "{name}: clocks may be apart");
        }
        let padded = with(&body, "jti", json!("x".repeat(TOKEN_BYTES)));
        assert_eq!(verdict(&header, &padded), Err(TokenFault::Form));
    }

    /// RFC 9864, which the library does not know.
    #[test]
    fn the_other_name_of_ed25519_is_taken_and_as_strictly() {
        let (key, hmac) =
            (Key::generate(Algorithm::EdDsa, NOW).unwrap(), Key::generate(Algorithm::Hs256, NOW).unwrap());
        let keys = set(&[&key, &hmac]);
        let header = |key: &Key| json!({"alg": "Ed25519", "kid": key.kid});
        let mut body =
            json!({"iss": "switchboard", "sub": "alice", "aud": "chat", "iat": NOW, "exp": NOW + 60});
        let token = forged(&key, &header(&key), &body);
        assert_eq!(check(&token, &keys, &rules(), NOW).unwrap().user.as_str(), "alice");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let changed = format!("{signed}.{first}{}", &signature[1..]);
        for (wrong, fault) in [
            (changed, TokenFault::Signature),
            (format!("{token}="), TokenFault::Form),
            (signed.to_owned(), TokenFault::Signature),
            (format!("{signed}."), TokenFault::Signature),
            (forged(&hmac, &header(&key), &body), TokenFault::Signature),
            (forged(&hmac, &header(&hmac), &body), TokenFault::Algorithm),
        ] {
            assert_eq!(check(&wrong, &keys, &rules(), NOW), Err(fault), "{wrong}");
        }
        body["aud"] = json!("another");
        assert_eq!(
            check(&forged(&key, &header(&key), &body), &keys, &rules(), NOW),
            Err(TokenFault::Foreign)
        );
    }

    #[test]
    fn a_key_of_another_issuer_is_for_that_issuers_tokens_alone_and_names_no_session_of_ours() {
        let own = Key::generate(Algorithm::Hs256, NOW).unwrap();
        let theirs = Key {
            issuer: Some("https://id.example".into()),
            ..Key::generate(Algorithm::EdDsa, NOW).unwrap()
        };
        let keys = set(&[&own, &theirs]);
        let token = |key: &Key, issuer: &str| {
            sign(&claims(), &Rules { issuer: issuer.into(), ..rules() }, key).unwrap()
        };
        let found = check(&token(&theirs, "https://id.example"), &keys, &rules(), NOW).unwrap();
        assert_eq!(found.session, None);
        assert_eq!(check(&token(&theirs, "switchboard"), &keys, &rules(), NOW), Err(TokenFault::Foreign));
        assert_eq!(check(&token(&own, "https://id.example"), &keys, &rules(), NOW), Err(TokenFault::Foreign));
        assert_eq!(keys.signer().map(Key::kid), Some(own.kid()), "what is another's is not signed with");
    }

    /// RFC 7515 appendix A.2 and A.3: what others have signed.
    #[test]
    fn the_examples_of_the_rfc_verify() {
        let set = KeySet::parse(
            r#"{"keys": [
            {"kty": "RSA", "kid": "rsa", "alg": "RS256", "e": "AQAB",
             "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
            {"kty": "EC", "kid": "ec", "alg": "ES256", "crv": "P-256",
             "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
        )
        .unwrap();
        let payload =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        for (kid, header, signature) in [
            (
                "rsa",
                "eyJhbGciOiJSUzI1NiJ9",
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                "ec",
                "eyJhbGciOiJFUzI1NiJ9",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
        ] {
            let key = set.find(kid).unwrap();
            let verifies = |signed: &str| {
                let algorithm = key.algorithm().in_library();
                crypto::verify(signature, signed.as_bytes(), &key.verifying(), algorithm).unwrap()
            };
            assert!(verifies(&format!("{header}.{payload}")), "{kid}");
            assert!(!verifies(&format!("{header}.{payload}x")), "{kid}");
            assert!(!key.can_sign() && key.signing().is_none());
        }
    }

    #[test]
    fn keys_that_are_wrong_are_refused_and_not_shown() {
        let good =
            r#"{"kty":"oct","kid":"a","alg":"HS256","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        assert_eq!(KeySet::parse(good).unwrap().keys().len(), 1);
        for (from, to, error) in [
            ("HS256", "RS256", "alg of the key \"a\" must be HS256"),
            ("HS256", "none", "alg of the key \"a\" must be HS256"),
            ("AAAAAAAA\"", "\"", "k of the key \"a\" must be 32 bytes or more in base64url"),
            ("\"a\"", "\"\"", "kid of the key \"\" must be a name of 1 to 256 bytes"),
            ("oct", "RSA", "alg of the key \"a\" must be RS256"),
            ("oct", "odd", "kty of the key \"a\" must be oct, OKP with Ed25519, EC with P-256, or RSA"),
            (
                "\"k\"",
                "\"use\":\"enc\",\"k\"",
                "use of the key \"a\" must be sig: other keys are not for tokens",
            ),
            ("{", "", "this is no JWK Set (RFC 7517): line 1, column 6"),
            ("\"a\"", "7", "this is no JWK Set (RFC 7517): a member has a wrong type"),
        ] {
            assert!(good.contains(from));
            let found = KeySet::parse(&good.replacen(from, to, 1)).unwrap_err().to_string();
            assert_eq!(found, error);
            assert!(!found.contains("AAAA"));
        }
        let twice = format!("{{\"keys\": [{good}, {good}]}}");
        assert!(KeySet::parse(&twice).unwrap_err().to_string().starts_with("two keys have the id \"a\""));
        let key = Key::generate(Algorithm::Hs256, NOW).unwrap();
        let Material::Hmac(secret) = &key.material else { panic!("an HMAC key") };
        assert!(!format!("{key:?}").contains(&format!("{secret:?}")));
    }
}
