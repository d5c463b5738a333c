-- Written by commeshctl from the site profile. Changes made here are lost with the next image.

-- Where things are. All state lies on the data partition.
data_path = "/srv/commesh/prosody"
pidfile = "/run/prosody/prosody.pid"
admin_socket = "/run/prosody/prosody.sock"
storage = "sql"
sql = { driver = "SQLite3", database = "prosody.sqlite" }
-- Write-ahead log: a pulled plug leaves a whole database, and a card is written to less.
sqlite_tune = "normal"

-- To the journal (kept in memory). No "info": that would record who is online when. Never message content.
log = { { levels = { min = "warn" }, to = "console", timestamps = false } }

-- The kit's network is IPv4.
use_ipv6 = false
-- Tells `prosodyctl check dns` that this private address is where people reach the server.
external_addresses = { "10.77.0.1" }
-- libunbound answers home.arpa, test and the like itself, always with "no such name"; these names are real here.
unbound = { options = { ["local-zone:"] = "home.arpa. transparent" } }

modules_enabled = {
  -- RFC 6120 and 6121: the core
  "disco"; -- XEP-0030, XEP-0115: clients find out what the server can do
  "roster"; -- contact lists
  "saslauth"; -- logging in
  "tls"; -- encryption on port 5222
  "ping"; -- XEP-0199: a phone notices a dead connection

  -- XEP-0479 IM: several devices, one conversation
  "carbons"; -- XEP-0280: what one device sends or gets, the others see
  "mam"; -- XEP-0313: history, so that a phone that was off misses nothing
  "bookmarks"; -- XEP-0402, XEP-0048: joined groups follow the person to each device
  "blocklist"; -- XEP-0191: blocking somebody
  "pep"; -- XEP-0163: avatars, OMEMO device lists and keys (XEP-0384)
  "private"; -- XEP-0049: settings of older apps
  "vcard4"; -- XEP-0292: profiles
  "vcard_legacy"; -- XEP-0054, XEP-0153, XEP-0398: profiles and avatars for apps that know only the old form
  "time"; -- XEP-0202: apps compare clocks, a kit has no reference outside

  -- XEP-0479 Mobile
  "smacks"; -- XEP-0198: nothing is lost when Wi-Fi drops
  "csi_simple"; -- XEP-0352: less traffic while the app is in the background
  "sasl2"; -- XEP-0388: logging in with fewer round trips
  "sasl2_bind2"; -- XEP-0386: the same for the session
  "sasl2_sm"; -- XEP-0198 within XEP-0388: resuming in one round trip
  "sasl2_fast"; -- XEP-0484: reconnecting without the password
  "cloud_notify"; -- XEP-0357: apps may register; nothing is ever delivered outside, the kit has no route there

  -- XEP-0479 Web
  "bosh"; -- XEP-0124, XEP-0206
  "websocket"; -- RFC 7395
  "http_altconnect"; -- XEP-0156: host-meta

  -- XEP-0479 A/V
  "turn_external"; -- XEP-0215: hands out short-lived credentials for calls

  -- Accounts: by invitation only
  "register"; -- XEP-0077: changing a password, leaving; creating only with an invitation (below)
  "invites"; -- XEP-0401: making invitations
  "invites_adhoc"; -- XEP-0050: inviting from inside the app
  "invites_register"; -- XEP-0445: an invitation opens an account from inside the app
  "invites_page"; -- the page an invitation leads to
  "invites_register_web"; -- opening an account in a browser
  "register_apps"; -- which apps the invitation page shows (below: none from the internet)
  "http_libjs"; -- jQuery and Bootstrap for these pages, from Debian, on this kit
  "password_policy"; -- a minimum length

  "commesh_sisters"; -- only the servers named in `sisters`, both ways

  -- Running it
  "limits"; -- one phone cannot take all of a small board
  "admin_shell"; -- `prosodyctl shell`, for the administrator and for verify
}
-- Sister sites: nobody else, both sides with a certificate of their own site's CA. No dialback, which would believe names without one.
plugin_paths = { "/usr/lib/commesh/prosody" }
sisters = { "school.home.arpa", "groups.school.home.arpa", "share.school.home.arpa" }
s2s_ports = { 5269 }
s2s_require_encryption = true
s2s_secure_auth = true

-- Encryption: TLS 1.2 and 1.3 (Mozilla "intermediate"), never without.
ssl = {
  certificate = "/etc/commesh/tls/prosody.crt";
  key = "/etc/commesh/tls/prosody.key";
  cafile = "/etc/commesh/federation/sisters.crt"; -- instead of the system's list
}
tls_profile = "intermediate"
c2s_require_encryption = true
c2s_ports = { 5222 }
-- XEP-0368
c2s_direct_tls_ports = { 5223 }
authentication = "internal_hashed"
-- The password itself never crosses the network (SCRAM does without).
disable_sasl_mechanisms = { "PLAIN", "DIGEST-MD5", "OAUTHBEARER" }

-- Web parts listen on loopback only; the kit's web server stands before them with TLS.
http_ports = { 5280 }
http_interfaces = { "127.0.0.1" }
https_ports = { }
trusted_proxies = { "127.0.0.1" }
consider_bosh_secure = true
consider_websocket_secure = true
http_external_url = "https://hill-clinic.home.arpa/"
http_paths = {
  invites_page = "/invite";
  invites_register_web = "/register";
}

-- Accounts
allow_registration = true
registration_invite_only = true
invite_expiry = 604800
invites_page = "https://hill-clinic.home.arpa/invite?" .. "{invite.token}"
allow_user_invites = false
allow_contact_invites = false
password_policy = { length = 8 }
site_name = "Clinic on the hill"
-- Nothing here leads to the internet: no store links, no pictures from elsewhere.
site_apps = {
  {
    name = "Conversations";
    text = "Chat, calls and files for Android.";
    image = "assets/logos/conversations.svg";
    link = "https://hill-clinic.home.arpa/";
    platforms = { "Android" };
    supports_preauth_uri = true;
    download = {
      text = "This kit has no app store. If the app is not on your device yet, the join page says how to get it.";
      buttons = { { text = "Join page"; url = "https://hill-clinic.home.arpa/" } };
    };
    setup = { text = "Open the app, choose to use an existing account, and enter your address and your password."; };
  };
  {
    name = "Monal";
    text = "Chat, calls and files for iPhone, iPad and Mac.";
    image = "assets/logos/monal.svg";
    link = "https://hill-clinic.home.arpa/";
    platforms = { "iOS", "macOS" };
    supports_preauth_uri = true;
    download = {
      text = "This kit has no app store. If the app is not on your device yet, the join page says how to get it.";
      buttons = { { text = "Join page"; url = "https://hill-clinic.home.arpa/" } };
    };
    setup = { text = "Open the app, choose to use an existing account, and enter your address and your password."; };
  };
  {
    name = "Dino";
    text = "Chat and calls for Linux.";
    image = "assets/logos/dino.svg";
    link = "https://hill-clinic.home.arpa/";
    platforms = { "Linux" };
    supports_preauth_uri = false;
    download = {
      text = "This kit has no app store. If the app is not on your device yet, the join page says how to get it.";
      buttons = { { text = "Join page"; url = "https://hill-clinic.home.arpa/" } };
    };
    setup = { text = "Open the app, choose to use an existing account, and enter your address and your password."; };
  };
  {
    name = "Gajim";
    text = "Chat for Windows, Linux and Mac.";
    image = "assets/logos/gajim.svg";
    link = "https://hill-clinic.home.arpa/";
    platforms = { "Windows", "Linux", "macOS" };
    supports_preauth_uri = false;
    download = {
      text = "This kit has no app store. If the app is not on your device yet, the join page says how to get it.";
      buttons = { { text = "Join page"; url = "https://hill-clinic.home.arpa/" } };
    };
    setup = { text = "Open the app, choose to use an existing account, and enter your address and your password."; };
  };
  {
    name = "Another app";
    text = "Any app for XMPP (Jabber).";
    image = "assets/logos/generic.svg";
    link = "https://hill-clinic.home.arpa/";
    platforms = {};
    supports_preauth_uri = false;
    download = {
      text = "This kit has no app store. If the app is not on your device yet, the join page says how to get it.";
      buttons = { { text = "Join page"; url = "https://hill-clinic.home.arpa/" } };
    };
    setup = { text = "Open the app, choose to use an existing account, and enter your address and your password."; };
  };
}

-- History (archive_expires_after: people; muc_log_expires_after: groups)
archive_expires_after = 2592000
muc_log_expires_after = 2592000

-- XEP-0384: one bundle per device, and room for everybody's devices
pep_max_items = 10000

-- Small boards
limits = { c2s = { rate = "256kb/s"; burst = "4s" } }
c2s_stanza_size_limit = 512 * 1024
gc = { mode = "incremental"; threshold = 110; speed = 500 }

turn_external_host = "turn.hill-clinic.home.arpa"
turn_external_port = 3478
turn_external_tcp = true
turn_external_ttl = 86400
turn_external_secret = "<turn-secret>"
-- turn_external_tls_port would name the TLS relay without credentials (mod_turn_external of 13.0.1).
external_services = {
  { type = "turns"; transport = "tcp"; host = "turn.hill-clinic.home.arpa"; port = 5349; secret = "<turn-secret>"; ttl = 86400 };
}

VirtualHost "hill-clinic.home.arpa"
  name = "Clinic on the hill"

Component "groups.hill-clinic.home.arpa" "muc"
  name = "Groups"
  modules_enabled = {
    "muc_mam"; -- XEP-0313 for groups
    "muc_moderation"; -- XEP-0425: an owner can take back what somebody posted
  }
  restrict_room_creation = "local"
  muc_room_default_persistent = true
  -- Everybody sees who is who: OMEMO encrypts to people, and a small site has no strangers.
  muc_room_default_public_jids = true
  muc_room_default_members_only = true
  muc_room_default_public = false
  muc_room_default_allow_member_invites = true
  muc_room_default_change_subject = true
  muc_room_default_history_length = 20

Component "share.hill-clinic.home.arpa" "http_file_share"
  name = "Files"
  http_external_url = "https://share.hill-clinic.home.arpa/"
  http_file_share_size_limit = 104857616
  http_file_share_daily_quota = 104857616
  http_file_share_global_quota = 7500000000
  http_file_share_expires_after = 2592000
