-- The companies, each once. An account that e-mail domains alone name belongs to the account that has that domain by
-- another way, if exactly one has.
SELECT
  account.*,
  company.account_ids -- every account_id that the company goes by, sorted
FROM accounts AS account
JOIN (
  SELECT company_id, ARRAY_AGG(account_id ORDER BY account_id) AS account_ids
  FROM (
    -- include _companies.sql
  )
  GROUP BY company_id
) AS company ON company.company_id = account.account_id
