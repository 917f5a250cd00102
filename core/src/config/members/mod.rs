//! Every member of the configuration file: its name, meaning, kind and default. A member that this
//! version does not have yet is a `later` row, which refuses it; building it turns the row into
//! another kind.

mod acl;
mod bus;
mod ldap;
mod realm;
mod short;
mod values;

use super::table::{Kind, Row, State, Tagged, Variant, later, row};

pub(super) use realm::RSA_ALGORITHMS;

use acl::ACL;
use bus::BUS;
use realm::REALM;
use short::AUTHENTICATION;
use values::*;

static SERVER_OBJECT: Kind = Kind::Object(SERVER);
static REALM_OBJECT: Kind = Kind::Object(REALM);
static SERVICE_OBJECT: Kind = Kind::Tagged(&SERVICE);

/// The whole file.
pub(super) static TOP: &[Row] = &[
    row("servers", some(&SERVER_OBJECT), "The listeners").required(),
    row("realms", named(&REALM_OBJECT), "Who is who, by name"),
    row(
        "services",
        named(&SERVICE_OBJECT),
        "What stands behind the paths, by name",
    ),
    row(
        "roles",
        list(&ROLE_NAME),
        "Roles that exist besides Everyone, Anonymous and the groups of group files",
    )
    .or("[]"),
    row("acl", Kind::Object(ACL), "Parent of every service's acl"),
    row(
        "admin",
        Kind::Object(ADMIN),
        "The admin listener: health, figures, revocation",
    ),
    row("bus", Kind::Object(BUS), "Redis, shared by all nodes"),
    row("limits", Kind::Object(LIMITS), "Bounds on what peers may cost").or("{}"),
    row("throttle", Kind::Object(THROTTLE), "Slows down guessing").or("{}"),
    row(
        "drainGrace",
        ANY_LENGTH,
        "How long open sockets may take to close at the end",
    )
    .or("\"10 seconds\""),
];

/// `admin`.
static ADMIN: &[Row] = &[
    row(
        "listen",
        some(&LISTEN_ADDRESS),
        "Loopback addresses with ports; port 0 takes a free one",
    )
    .required(),
    row(
        "tokenFile",
        Kind::File,
        "File with the token that POST /revoke asks for",
    )
    .required(),
    row("revocations", Kind::File, "File with one revocation a line"),
];

/// `throttle`.
static THROTTLE: &[Row] = &[
    row(
        "failures",
        MANY,
        "Failed logins of one address in one window; further ones are 429",
    )
    .or("10"),
    row(
        "window",
        POSITIVE,
        "Length of a window, from its first failure on",
    )
    .or("\"1 minute\""),
    row(
        "shared",
        list(&NETWORK_TEXT),
        "Networks that many clients share: counted per address and user name",
    )
    .or("[]"),
];

/// `limits`.
pub(super) static LIMITS: &[Row] = &[
    row("requestLineBytes", HEAD, "Longest request line, in bytes").or("8192"),
    row("headBytes", HEAD, "Longest request head, in bytes").or("16384"),
    row(
        "headTimeout",
        POSITIVE,
        "Time for accept, TLS handshake and head together",
    )
    .or("\"10 seconds\""),
    row(
        "attemptsPerConnection",
        Kind::Count { min: 1, max: 1000 },
        "Refused attempts on one connection",
    )
    .or("3"),
    row(
        "keepAliveTimeout",
        POSITIVE,
        "Time that a kept connection waits for its next head",
    )
    .or("\"30 seconds\""),
    row(
        "messageBytes",
        Kind::Count {
            min: 1,
            max: 1024 * MEBIBYTE,
        },
        "Longest WebSocket message, in bytes",
    )
    .or("1048576"),
    row("closeTimeout", POSITIVE, "Time for a closing handshake").or("\"5 seconds\""),
    row(
        "stallTimeout",
        POSITIVE,
        "Time that a peer may take nothing of what waits for it",
    )
    .or("\"10 seconds\""),
    row(
        "connections",
        MANY,
        "Open connections; default 100000 (smol) or 4000 (std)",
    ),
    row(
        "connectionsPerAddress",
        MANY,
        "Open connections of one address; default a tenth of all",
    ),
    row(
        "socketsPerSubject",
        MANY,
        "Open sockets of one identity; default no bound",
    ),
    row(
        "messageMemory",
        MEMORY,
        "Memory of messages that are being received, in bytes",
    )
    .or("268435456"),
    row(
        "jobBytes",
        MEMORY,
        "Memory of password hashes that are computed at once, in bytes",
    )
    .or("268435456"),
    row("sessions", MANY, "Sessions of form logins").or("100000"),
    row("tickets", MANY, "Unspent tickets").or("100000"),
];

/// One of `servers`.
static SERVER: &[Row] = &[
    row("id", NAME, "Its name in the log").required(),
    row("uuid", Kind::Text(&UUID), "Its name in other systems"),
    row(
        "listen",
        some(&LISTEN_ADDRESS),
        "Addresses with ports; port 0 takes a free one; required but for portNumber",
    ),
    row(
        "serverCertificate",
        Kind::File,
        "PEM file with certificate chain and key",
    ),
    row(
        "plaintext",
        Kind::Boolean,
        "Serves without TLS, on loopback addresses only",
    )
    .or("false"),
    row(
        "hosts",
        list(&HOST_ENTRY),
        "Hosts that it answers for; default localhost, 127.0.0.1 and [::1] if it listens on loopback only, \
         in the short form every host",
    ),
    row("services", some(&NAME), "Names of its services; default all"),
    row(
        "unknownHostStatus",
        Kind::Number(&[421, 403, 404]),
        "Answer to a host that it does not serve",
    )
    .or("421"),
    row(
        "health",
        Kind::Text(&PATH),
        "Path that is answered 200 or 503 without Host check and realm",
    ),
    row("hsts", ANY_LENGTH, "max-age of Strict-Transport-Security"),
    row(
        "proxyProtocol",
        some(&NETWORK_TEXT),
        "Networks from which a PROXY header of version 2 comes first",
    ),
    row(
        "portNumber",
        Kind::Count { min: 1, max: 65_535 },
        "Short form: port on all addresses, in place of listen",
    ),
    row(
        "authentication",
        Kind::Single(AUTHENTICATION),
        "Short form: the server's own realm",
    ),
    row(
        "endpoints",
        ENDPOINTS,
        "Short form: the server's own data points, by path",
    ),
    later("clientCertificates", "Client certificates as credentials"),
];

/// Where every service but points is reached.
const ACCEPT: Row = row(
    "accept",
    Kind::OneOrMany(&ACCEPT_ENTRY),
    "Path or wss://host[:port]/path, or a list of them",
)
.required();

/// Names of data points, by path.
const ENDPOINTS: Kind = Kind::Map {
    of: &NAME,
    name: &ENDPOINT,
    min: 1,
};

/// `forward` of a proxy.
static FORWARD: &[Row] = &[
    row("subject", FIELD_NAME, "Field of the subject"),
    row("issuer", FIELD_NAME, "Field of the token's issuer"),
    row("roles", FIELD_NAME, "Field of the roles, joined by commas"),
    row(
        "claims",
        Kind::Map {
            of: &FIELD_NAME,
            name: &PLAIN,
            min: 1,
        },
        "Fields of claims, by claim",
    ),
];

/// One of `services`.
static SERVICE: Tagged = Tagged {
    common: &[
        row(
            "realm",
            Kind::OneOrMany(&NAME),
            "Name of the realm whose clients may enter, or of several that have to be passed one after the other",
        ),
        row("public", Kind::Boolean, "Everybody may enter").or("false"),
        row("enabled", Kind::Boolean, "false answers 503").or("true"),
        row("carriers", some(&CARRIER_NAME), "Replaces the realm's carriers"),
        row(
            "origins",
            list(&ORIGIN_NAME),
            "Allowed origins besides the server's own",
        ),
        row(
            "allowMissingOrigin",
            Kind::Boolean,
            "Lets cookies pass without Origin",
        )
        .or("false"),
        row(
            "requireRoles",
            list(&ROLE_NAME),
            "Roles that are needed, all of them; [\"*\"] is any authenticated user",
        )
        .or("[]"),
        row(
            "requireScopes",
            list(&SCOPE_TOKEN),
            "Scopes that are needed, all of them",
        )
        .or("[]"),
        row("acl", Kind::Object(ACL), "Who may do what"),
        row(
            "subprotocols",
            list(&PROTOCOL),
            "Subprotocols, preferred ones first",
        )
        .or("[]"),
        row(
            "requireSubprotocol",
            Kind::Boolean,
            "Refuses clients without a common subprotocol",
        )
        .or("false"),
        row(
            "idleTimeout",
            POSITIVE,
            "Closes a socket on which nothing was sent for this long",
        ),
        row("pingInterval", POSITIVE, "Time between two pings").or("\"30 seconds\""),
        row(
            "stepUpLifetime",
            POSITIVE,
            "Time from one factor to the next, at most 30 seconds",
        )
        .or("\"30 seconds\""),
        later("singleUse", "Accepts every token once"),
        later("firstMessage", "Takes the token from the first message"),
        later("acceptThenClose", "Refuses by a Close frame"),
    ],
    variants: &[
        Variant {
            name: "echo",
            doc: "Sends every message back",
            rows: &[ACCEPT],
            state: State::Built,
        },
        Variant {
            name: "broadcast",
            doc: "What one member sends, all others receive",
            rows: &[
                ACCEPT,
                row("mailboxBytes", MEMORY, "Most that waits for one member, in bytes").or("262144"),
            ],
            state: State::Built,
        },
        Variant {
            name: "points",
            doc: "Named last values",
            rows: &[row("endpoints", ENDPOINTS, "Names of data points, by path").required()],
            state: State::Built,
        },
        Variant {
            name: "proxy",
            doc: "Relays to an upstream",
            rows: &[
                ACCEPT,
                row(
                    "connect",
                    Kind::Text(&UPSTREAM_URL),
                    "ws://, wss:// or tcp:// URL of the upstream",
                )
                .required(),
                row(
                    "forward",
                    Kind::Object(FORWARD),
                    "Fields that tell the upstream who the client is",
                ),
                row("timeout", POSITIVE, "Time from the dial to the upstream's 101").or("\"10 seconds\""),
                row(
                    "plaintext",
                    Kind::Boolean,
                    "Allows an upstream without TLS beyond loopback",
                )
                .or("false"),
                row(
                    "caFile",
                    Kind::File,
                    "PEM file with the authority of the upstream's certificate",
                ),
            ],
            state: State::Built,
        },
        Variant {
            name: "directory",
            doc: "Serves files",
            rows: &[
                ACCEPT,
                row("directory", Kind::File, "The folder whose files are served").required(),
            ],
            state: State::Built,
        },
    ],
};
