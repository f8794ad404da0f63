-- The events, each message_id once, with who they are today: the external_id of the person's contact (the event's
-- user_id, else its anonymous_id, resolved through identities), and that contact's account, e-mail address and name.
SELECT
  event.*,
  COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id, -- the label of the contact that the event belongs to now
  contact.account_id,
  contact.email,
  contact.name AS contact_name
FROM events_unique AS event
LEFT JOIN identities AS identity ON identity.id = COALESCE(event.user_id, event.anonymous_id)
LEFT JOIN contacts AS contact
  ON contact.external_id = COALESCE(identity.external_id, event.user_id, event.anonymous_id)
