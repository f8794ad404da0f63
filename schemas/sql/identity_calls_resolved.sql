-- The log of identity calls, each once, with who they are today, as in events_resolved. Of an alias it is its user_id.
SELECT
  call.*,
  COALESCE(identity.external_id, call.user_id, call.anonymous_id) AS external_id, -- the label of the contact that the call belongs to now
  COALESCE(named.company_id, own.company_id, contact.account_id, membership.account_id) AS account_id -- the account that the call's `group_id` names, else the contact's, else that of its newest membership
FROM identity_calls_unique AS call
LEFT JOIN identities AS identity ON identity.id = COALESCE(call.user_id, call.anonymous_id)
LEFT JOIN contacts AS contact
  ON contact.external_id = COALESCE(identity.external_id, call.user_id, call.anonymous_id)
LEFT JOIN (
  -- include _newest_memberships.sql
) AS membership
  ON membership.external_id = COALESCE(identity.external_id, call.user_id, call.anonymous_id)
LEFT JOIN (
  -- include _companies.sql
) AS named ON named.account_id = call.group_id
LEFT JOIN (
  -- include _companies.sql
) AS own ON own.account_id = COALESCE(contact.account_id, membership.account_id)
