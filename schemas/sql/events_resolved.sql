-- The events, with who they are today: the external_id of the person's contact (the event's user_id, else its
-- anonymous_id, resolved through identities), that contact's e-mail address and name, and the company that the event
-- belongs to. Every account is resolved to its company, as in accounts_resolved.
SELECT
  event.*,
  COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id, -- the label of the contact that the event belongs to now
  COALESCE(named.company_id, own.company_id, contact.account_id, membership.account_id) AS account_id, -- the account that the event itself names (`group_id`, where it is an account), else the contact's, else that of its newest membership
  IF(contact.account_id IS NULL, NULL, COALESCE(own.company_id, contact.account_id)) AS contact_account_id, -- the contact's account now
  contact.email,
  contact.name AS contact_name
FROM events AS event
LEFT JOIN identities AS identity ON identity.id = COALESCE(event.user_id, event.anonymous_id)
LEFT JOIN contacts AS contact
  ON contact.external_id = COALESCE(identity.external_id, event.user_id, event.anonymous_id)
LEFT JOIN (
  -- include _newest_memberships.sql
) AS membership
  ON membership.external_id = COALESCE(identity.external_id, event.user_id, event.anonymous_id)
LEFT JOIN (
  -- include _companies.sql
) AS named ON named.account_id = event.group_id
LEFT JOIN (
  -- include _companies.sql
) AS own ON own.account_id = COALESCE(contact.account_id, membership.account_id)
