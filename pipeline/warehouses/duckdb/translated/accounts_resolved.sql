-- of the GoogleSQL whose SHA-256 is 823a64626e66e5f2e9515199e94299c3fe8186870a2e86cb29bfd53156a0d943
SELECT
  account.*,
  company.account_ids
FROM accounts AS account
JOIN (
  SELECT
    company_id,
    ARRAY_AGG(account_id ORDER BY account_id NULLS FIRST) AS account_ids
  FROM (
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
  )
  GROUP BY
    company_id
) AS company
  ON company.company_id = account.account_id
