-- Only the servers named in `sisters`, both ways. Without it Prosody speaks to every server whose certificate it trusts.
local st = require "prosody.util.stanza";
local sisters = module:get_option_set("sisters", {});

-- Before mod_s2s looks for a connection (priority -1): nothing is asked of a name server for others.
module:hook("route/remote", function (event)
  if sisters:contains(event.to_host) then return; end
  local stanza = event.stanza;
  if stanza.attr.type ~= "error" and stanza.attr.type ~= "result" then
    event.origin.send(st.error_reply(stanza, "cancel", "not-allowed", "This kit does not speak to "..event.to_host));
  end
  return true;
end, 100);

-- Before mod_s2s believes a connection (priority -1).
module:hook("s2s-authenticated", function (event)
  if sisters:contains(event.host) then return; end
  module:log("warn", "refused: %s is not a sister site", event.host);
  event.session:close({ condition = "policy-violation", text = "This kit speaks to sister sites only" });
  return false;
end, 100);
