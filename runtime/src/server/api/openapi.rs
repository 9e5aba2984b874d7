//! The OpenAPI document: what the routes say of themselves, and what is true of all of them.

use utoipa::openapi::{
    Components, Content, Info, License, OpenApi, Ref, RefOr, Response, ResponseBuilder, Tag,
    path::Operation,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::{Details, Kind};
use crate::server::access::COOKIE;

const BEARER: &str = "bearer";
const SESSION_COOKIE: &str = "cookie";

/// What the calls are about, in the order of the document.
const TAGS: [(&str, &str); 10] = [
    ("accounts", "Registering, and what users say of themselves."),
    ("sessions", "Logging in and out, and where one is logged in."),
    ("users", "Other users."),
    ("friends", "Whom a user has in its list."),
    ("conversations", "What was said, one to one and in groups."),
    ("search", "What was said, by its words."),
    ("groups", "Groups, their members, and what each may do."),
    ("media", "Pictures and other files."),
    ("admin", "For those who run the server: `switchboard user` makes somebody an administrator."),
    ("about", "This interface itself."),
];

/// Whether calls need a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    Session,
    None,
}

/// The document of all calls, which were documented by their routers.
pub(super) fn document(parts: impl IntoIterator<Item = (OpenApi, Security)>) -> OpenApi {
    let mut whole = OpenApi::default();
    for (mut part, security) in parts {
        operations(&mut part).for_each(|operation| complete(operation, security));
        whole.merge(part);
    }
    whole.info = Info::new("Switchboard", env!("CARGO_PKG_VERSION"));
    let about = "Accounts, conversations, groups and files of a Switchboard server, for clients and operators. What others say \
                 live comes over its WebSocket. See docs/api.md.";
    whole.info.description = Some(about.to_owned());
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    whole.info.license = Some(license);
    whole.tags = Some(TAGS.into_iter().map(tag).collect());
    let components = whole.components.get_or_insert_with(Components::new);
    components.schemas.insert(Details::name().into_owned(), Details::schema());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let bearer = bearer.description(Some("The token that logging in gives.")).build();
    components.security_schemes.insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    let about = "The cookie that logging in sets; what changes something must come from a page that may.";
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(COOKIE, about));
    components.security_schemes.insert(SESSION_COOKIE.to_owned(), RefOr::T(SecurityScheme::ApiKey(cookie)));
    whole
}

fn tag((name, description): (&str, &str)) -> Tag {
    let mut tag = Tag::new(name);
    tag.description = Some(description.to_owned());
    tag
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
            .into_iter()
            .flatten()
    })
}

/// Adds what any call of its kind may be answered.
fn complete(operation: &mut Operation, security: Security) {
    let mut kinds = vec![Kind::TooMany, Kind::Internal, Kind::Busy];
    match security {
        Security::Session => {
            let named = |name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
            operation.security = Some(vec![named(BEARER), named(SESSION_COOKIE)]);
            kinds.push(Kind::Unauthenticated);
        }
        Security::None => operation.security = Some(Vec::new()),
    }
    let is_read = operation.request_body.is_none();
    if !is_read {
        kinds.extend([Kind::Malformed, Kind::Invalid, Kind::TooLarge, Kind::UnsupportedType, Kind::Timeout]);
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        kinds.push(Kind::Malformed);
    }
    // A page of another origin.
    if security == Security::Session {
        kinds.push(Kind::Forbidden);
    }
    for kind in kinds {
        let status = kind.status().as_u16().to_string();
        operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(response(kind, None)));
    }
    // What a call says itself of its problems has words alone.
    for (status, response) in &mut operation.responses.responses {
        if !status.starts_with('2')
            && let RefOr::T(response) = response
            && response.content.is_empty()
        {
            *response = self::response(Kind::Internal, Some(&response.description));
        }
    }
}

/// An answer that is a problem.
fn response(kind: Kind, description: Option<&str>) -> Response {
    let details = Content::new(Some(Ref::from_schema_name(Details::name())));
    ResponseBuilder::new()
        .description(description.unwrap_or(kind.title()))
        .content("application/problem+json", details)
        .build()
}
