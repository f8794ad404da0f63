-- of the GoogleSQL whose SHA-256 is 14948d227d7934ae019a9f570b7bb980b6e55901e99e6f205de41e3f4a4601c0
SELECT
  membership.external_id,
  membership.account_id,
  membership.account_source,
  membership.first_named_at,
  membership.last_named_at,
  membership.updated_at,
  contact.email,
  contact.name AS contact_name,
  account.name AS account_name,
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
    SELECT
      account.account_id,
      COALESCE(owner.account_id, account.account_id) AS company_id
    FROM accounts AS account
    LEFT JOIN (
      SELECT
        domain,
        MIN(account_id) AS account_id
      FROM accounts
      WHERE
        account_source <> 'email_domain' AND NOT domain IS NULL
      GROUP BY
        domain
      HAVING
        COUNT(*) = 1
    ) AS owner
      ON account.account_source = 'email_domain' AND owner.domain = account.account_id
  ) AS company
    ON company.account_id = membership.account_id
  WINDOW pair AS (
    PARTITION BY membership.external_id, COALESCE(company.company_id, membership.account_id)
  )
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY membership.external_id, COALESCE(company.company_id, membership.account_id)
      ORDER BY membership.account_source = 'email_domain' NULLS FIRST, membership.last_named_at DESC, membership.account_id NULLS FIRST
    ) = 1
) AS membership
LEFT JOIN contacts AS contact
  ON contact.external_id = membership.external_id
LEFT JOIN accounts AS account
  ON account.account_id = membership.account_id
