// What the story of tests/receiver/clients/story.py has that @jitsu/js can say (no screen, no alias):
// jitsu.js ENDPOINT WRITE_KEY
const { jitsuAnalytics } = require('@jitsu/js')

const [host, writeKey] = process.argv.slice(2)
const jitsu = jitsuAnalytics({ host, writeKey, errorPolicy: 'rethrow' })

async function tell() {
  await jitsu.page({ name: 'Pricing', url: 'https://shop.test/pricing' })
  await jitsu.identify('pgibbons', { email: 'pgibbons@example.com', name: 'Peter Gibbons' })
  await jitsu.track('Item Purchased', { revenue: 14.99, note: 'Zoë 💶' })
  await jitsu.group('initech', { name: 'Initech', employees: 420 })
}

tell().catch((error) => {
  console.error(error)
  process.exit(1)
})
