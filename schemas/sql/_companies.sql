-- The account that each account belongs to: one that e-mail domains name is the company that has that domain by another
-- way, if exactly one has.
SELECT account.account_id, COALESCE(owner.account_id, account.account_id) AS company_id
FROM accounts AS account
LEFT JOIN (
  SELECT domain, MIN(account_id) AS account_id
  FROM accounts
  WHERE account_source != 'email_domain' AND domain IS NOT NULL
  GROUP BY domain
  HAVING COUNT(*) = 1
) AS owner ON account.account_source = 'email_domain' AND owner.domain = account.account_id
