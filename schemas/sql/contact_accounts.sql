-- The memberships, each contact and company once, with the contact's e-mail address and name and the company's name
-- and domain. Accounts are resolved to their companies, as in accounts_resolved.
SELECT
  membership.external_id,
  membership.account_id,
  membership.account_source,
  membership.first_named_at,
  membership.last_named_at,
  membership.updated_at,
  contact.email,
  contact.name AS contact_name,
  account.name AS account_name, -- the company's name
  account.domain
FROM (
  SELECT
    membership.external_id,
    COALESCE(company.company_id, membership.account_id) AS account_id,
    membership.account_source,
    MIN(membership.first_named_at) OVER pair AS first_named_at,
    MAX(membership.last_named_at) OVER pair AS last_named_at,
    MAX(membership.updated_at) OVER pair AS updated_at
  FROM memberships AS membership
  LEFT JOIN (
    -- include _companies.sql
  ) AS company ON company.account_id = membership.account_id
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY membership.external_id, COALESCE(company.company_id, membership.account_id)
      ORDER BY
        membership.account_source = 'email_domain',
        membership.last_named_at DESC,
        membership.account_id
    ) = 1
  WINDOW
    pair AS (PARTITION BY membership.external_id, COALESCE(company.company_id, membership.account_id))
) AS membership
LEFT JOIN contacts AS contact ON contact.external_id = membership.external_id
LEFT JOIN accounts AS account ON account.account_id = membership.account_id
