-- The Engage audiences and journey steps of each contact, one row for each that it is in or was in, as of now.
SELECT
  contact.external_id,
  audience.audience_key, -- the audience's key, in snake case
  audience.is_member, -- whether the contact is in the audience
  audience.updated_at, -- when it was said, by the call's timestamp
  contact.email,
  contact.name AS contact_name,
  contact.account_id, -- the contact's company
  contact.account_name -- the company's name
FROM contacts_resolved AS contact
CROSS JOIN UNNEST(contact.audiences) AS audience
