-- The memberships, with the contact's e-mail address and name and the account's name and domain.
SELECT
  membership.*,
  contact.email,
  contact.name AS contact_name,
  account.name AS account_name,
  account.domain
FROM memberships AS membership
LEFT JOIN contacts AS contact ON contact.external_id = membership.external_id
LEFT JOIN accounts AS account ON account.account_id = membership.account_id
