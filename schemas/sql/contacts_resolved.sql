-- The contacts, with the company of accounts_resolved as their account, and its name.
SELECT
  contact.* REPLACE (company.company_id AS account_id),
  account.name AS account_name -- the company's name
FROM contacts AS contact
LEFT JOIN (
  -- include _companies.sql
) AS company ON company.account_id = contact.account_id
LEFT JOIN accounts AS account ON account.account_id = company.company_id
