//! Who asks, and for whom it may act: every request comes by here.

use std::time::Duration;

use axum::http::{HeaderMap, Method, header};
use switchboard_engine::{IdError, UserId};

use super::{Desk, Peer};
use crate::{
    accounts::{AccountError, Grant, Token, Visitor},
    config::AuthMode,
    server::shard::Login,
    store::{AccountRole, DirectoryError, Ended, EndedLogins, TokenHash},
};

/// The cookie that has a session's token.
pub(in crate::server) const COOKIE: &str = "switchboard_session";

/// Why somebody may not act.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Refusal {
    #[error("the user's id: {0}")]
    UserId(#[from] IdError),
    #[error("log in first")]
    LogIn,
    #[error("you are logged in as another user")]
    AnotherUser,
    #[error("pages of this origin may not act here: see allowed_origins")]
    ForeignPage,
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(in crate::server) enum Caller {
    /// Whoever it says, with open authentication.
    Anyone,
    /// The user of a session, or of a signed token; what stands for a session then is none.
    User { user: UserId, username: Option<String>, session: TokenHash, role: AccountRole },
}

/// A user for whom the caller may act. Nothing but [`Caller`] makes one.
#[derive(Clone, Debug)]
pub(in crate::server) struct Actor(UserId);

/// A user whose connection may become a WebSocket. Nothing but [`Desk`] makes one, and without one there is no seat at a
/// shard.
#[derive(Clone, Debug)]
pub(in crate::server) struct Admitted {
    user: UserId,
    /// What proves it; none where users are believed.
    proof: Option<(Token, Login)>,
}

impl Admitted {
    pub(in crate::server) const fn user(&self) -> &UserId {
        &self.user
    }

    /// What its connection ends with; none where users are believed.
    pub(in crate::server) fn login(&self) -> Option<Login> {
        self.proof.as_ref().map(|(_, login)| login.clone())
    }
}

impl Actor {
    pub(in crate::server) const fn user(&self) -> &UserId {
        &self.0
    }

    pub(in crate::server) fn into_user(self) -> UserId {
        self.0
    }
}

impl Caller {
    /// The user whom a call names, if the caller may act for it.
    pub(in crate::server) fn acts_as(&self, id: &str) -> Result<Actor, Refusal> {
        match self {
            Self::Anyone => Ok(Actor(UserId::new(id)?)),
            // An id that is none is another one as well.
            Self::User { user, .. } if user.as_str() == id => Ok(Actor(user.clone())),
            Self::User { .. } => Err(Refusal::AnotherUser),
        }
    }

    /// As [`Caller::acts_as`], for a call that names a user by name. With open authentication it is still to be looked
    /// up.
    pub(in crate::server) fn is_called(&self, name: &str) -> Result<Option<Actor>, Refusal> {
        match self {
            Self::Anyone => Ok(None),
            Self::User { user, username, .. } if username.as_deref() == Some(name) => {
                Ok(Some(Actor(user.clone())))
            }
            Self::User { .. } => Err(Refusal::AnotherUser),
        }
    }

    /// With open authentication, a user that was looked up by its name.
    pub(in crate::server) fn believed(&self, user: UserId) -> Result<Actor, Refusal> {
        match self {
            Self::Anyone => Ok(Actor(user)),
            Self::User { .. } => Err(Refusal::AnotherUser),
        }
    }

    /// The user of the session; none with open authentication, where a call that names nobody is anybody's.
    pub(in crate::server) const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Anyone => None,
            Self::User { user, .. } => Some(user),
        }
    }

    /// The user of the session, for a connection inside this process that does not outlive the request.
    pub(in crate::server) fn admitted(&self) -> Option<Admitted> {
        self.user().map(|user| Admitted { user: user.clone(), proof: None })
    }

    /// The session.
    pub(in crate::server) const fn session(&self) -> Option<TokenHash> {
        match self {
            Self::Anyone => None,
            Self::User { session, .. } => Some(*session),
        }
    }
}

/// What a request proves itself with.
struct Proof {
    token: Token,
    /// A browser has put it there by itself, whichever page has asked.
    is_cookie: bool,
}

/// The session that a request has with it, whether it is one or not.
pub(in crate::server) fn session_in(headers: &HeaderMap) -> Option<TokenHash> {
    proof(headers).map(|proof| proof.token.hash())
}

impl Desk {
    /// Who a request is from, if it may ask here.
    pub(in crate::server) async fn admit(
        &self,
        peer: Peer,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Caller, Refusal> {
        // A page of another site could have a browser send this, and not see the answer.
        let may_change = self.rules.is_own_origin(peer, headers);
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        self.caller(proof(headers), changes && !may_change).await
    }

    /// As [`Desk::admit`], for calls that need a session, whoever is believed elsewhere.
    pub(in crate::server) async fn admit_session(
        &self,
        peer: Peer,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Caller, Refusal> {
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        self.session_caller(proof(headers), changes && !self.rules.is_own_origin(peer, headers)).await
    }

    async fn caller(&self, proof: Option<Proof>, is_foreign: bool) -> Result<Caller, Refusal> {
        match self.rules.auth {
            AuthMode::Open => Ok(Caller::Anyone),
            AuthMode::Password => self.session_caller(proof, is_foreign).await,
        }
    }

    async fn session_caller(&self, proof: Option<Proof>, is_foreign: bool) -> Result<Caller, Refusal> {
        let (granted, _) = self.proved(proof, is_foreign).await?;
        let Grant { user, username, role, key, .. } = granted;
        Ok(Caller::User { user, username, session: key, role })
    }

    /// What a request has with it, and what that gives.
    async fn proved(&self, proof: Option<Proof>, is_foreign: bool) -> Result<(Grant, Token), Refusal> {
        let Proof { token, is_cookie } = proof.ok_or(Refusal::LogIn)?;
        if is_cookie && is_foreign {
            return Err(Refusal::ForeignPage);
        }
        let granted = self.accounts.grant(&token).await?.ok_or(Refusal::LogIn)?;
        Ok((granted, token))
    }

    /// Admits a user at once, where whoever says a name is believed.
    pub(in crate::server) fn believe(&self, user: &UserId) -> Option<Admitted> {
        match self.rules.auth {
            AuthMode::Open => Some(Admitted { user: user.clone(), proof: None }),
            AuthMode::Password => None,
        }
    }

    /// Admits a user if this request may become a WebSocket of it.
    pub(in crate::server) async fn admit_socket(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        user: &UserId,
    ) -> Result<Admitted, Refusal> {
        if let Some(admitted) = self.believe(user) {
            return Ok(admitted);
        }
        let is_foreign = !self.rules.is_own_origin(peer, headers);
        let (granted, token) = self.proved(proof(headers), is_foreign).await?;
        if granted.user != *user {
            return Err(Refusal::AnotherUser);
        }
        let Grant { user, expires_at_ms, key, is_token, .. } = granted;
        let left_ms = expires_at_ms.saturating_sub(jiff::Timestamp::now().as_millisecond());
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
        Ok(Admitted { user, proof: Some((token, Login { key, is_token, left })) })
    }

    /// Closes a user's connection that was handed to its shard if the login has ended before it was there: nobody could
    /// close it then.
    pub(in crate::server) async fn look_again(&self, admitted: Admitted) {
        let Admitted { user, proof: Some((token, login)) } = admitted else { return };
        let ended = match self.accounts.grant(&token).await {
            Ok(granted) => granted.is_none(),
            Err(AccountError::Directory(DirectoryError::Banned(_))) => true,
            // Whether it is one nobody can say for now, and it was one a moment ago.
            Err(_) => false,
        };
        if ended {
            let which = Ended::Session(login.key);
            // A shard without room for it has no turn for the connection either.
            let _ = self.authority.logins_ended(&EndedLogins { revision: 0, user, which });
        }
    }

    /// From where somebody logs in.
    pub(in crate::server) fn visitor(&self, peer: Peer, headers: &HeaderMap) -> Visitor {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Visitor {
            address: self.rules.proxies.origin(peer, headers),
            user_agent: user_agent.unwrap_or_default().to_owned(),
        }
    }

    /// The header that gives a browser its session, or takes it away; none for a page of another origin, which could
    /// log its visitor in as somebody else.
    pub(in crate::server) fn set_cookie(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        token: Option<&Token>,
    ) -> Option<String> {
        if !self.rules.is_own_origin(peer, headers) {
            return None;
        }
        let seconds = if token.is_some() { self.accounts.session_seconds() } else { 0 };
        let value = token.map(Token::expose).unwrap_or_default();
        let is_secure = self.rules.proxies.is_secure(peer, headers);
        let secure = if is_secure { "; Secure" } else { "" };
        Some(format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"))
    }
}

impl super::Rules {
    /// Whether a request comes from no page (RFC 6454 section 7), from one of this server, or from one that may.
    ///
    /// To who speaks TLS, pages that came without it are foreign: anybody on the way could have written them. Without TLS here there may
    /// be a proxy that speaks it and does not say so, so pages of both kinds are this server's.
    fn is_own_origin(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        if self.allowed_origins.contains(&origin) {
            return true;
        }
        let (host, port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
            (Some(_), _) if self.proxies.is_secure(peer, headers) => return false,
            (Some(host), _) => (host, ":80"),
            (None, Some(host)) => (host, ":443"),
            (None, None) => return false,
        };
        let Some(own) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
        let own = own.to_ascii_lowercase();
        host.strip_suffix(port).unwrap_or(host) == own.strip_suffix(port).unwrap_or(&own)
    }
}

/// The token in a request, if there is one: what a program says goes before what a browser does.
fn proof(headers: &HeaderMap) -> Option<Proof> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().parse().ok())?
    });
    if let Some(token) = bearer {
        return Some(Proof { token, is_cookie: false });
    }
    // RFC 6265 section 4.2.1.
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let token: Token = pairs.find(|(name, _)| *name == COOKIE)?.1.parse().ok()?;
    // Signed tokens are for programs.
    (!token.is_signed()).then_some(Proof { token, is_cookie: true })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Proxies;
    use super::*;
    use crate::config::Http;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_own_origin_and_those_that_are_listed_may_act() {
        let plain = Peer { address: ([127, 0, 0, 1], 1).into(), is_tls: false };
        let mut rules = super::super::Rules {
            auth: AuthMode::Password,
            devices: crate::config::Devices::All,
            proxies: Arc::default(),
            allowed_origins: vec!["https://chat.example".to_owned()],
            groups_per_user: 1,
            http: Http::default(),
        };
        for (host, origin, is_own) in [
            ("127.0.0.1:8888", "http://127.0.0.1:8888", true),
            ("127.0.0.1:8888", "http://127.0.0.1:9999", false),
            ("Chat.Home", "http://chat.home", true),
            ("chat.home", "http://chat.home:80", true),
            ("chat.home", "https://chat.home:443", true),
            ("chat.home", "https://chat.home", true),
            ("chat.home", "https://evil.chat.home", false),
            ("chat.home", "https://chat.home.evil", false),
            ("chat.home", "null", false),
            ("chat.home", "https://chat.example", true),
            ("chat.home", "http://chat.example", false),
        ] {
            let headers = headers(&[("host", host), ("origin", origin)]);
            assert_eq!(rules.is_own_origin(plain, &headers), is_own, "{host} {origin}");
            // With TLS, the same but for pages without it.
            let is_own = is_own && !origin.starts_with("http://");
            assert_eq!(
                rules.is_own_origin(Peer { is_tls: true, ..plain }, &headers),
                is_own,
                "{host} {origin}"
            );
        }
        assert!(rules.is_own_origin(plain, &headers(&[("host", "chat.home")])));
        let proxied = [("host", "chat.home"), ("origin", "http://chat.home"), ("x-forwarded-proto", "https")];
        assert!(rules.is_own_origin(plain, &headers(&proxied)), "a proxy that is not trusted");
        rules.proxies = Arc::new(Proxies::new("127.0.0.1"));
        assert!(!rules.is_own_origin(plain, &headers(&proxied)));
    }

    #[test]
    fn a_token_is_found_in_either_place() {
        let token = "x".repeat(43);
        let cookie = format!("a=b; {COOKIE}={token}; c=d");
        for (name, value, found) in [
            ("cookie", cookie.as_str(), Some(true)),
            ("cookie", "switchboard_session=short", None),
            ("cookie", "", None),
            ("authorization", &format!("bearer {token}"), Some(false)),
            ("authorization", &format!("Basic {token}"), None),
        ] {
            let proof = proof(&headers(&[(name, value)]));
            assert_eq!(proof.map(|proof| proof.is_cookie), found, "{name}: {value}");
        }
    }
}
