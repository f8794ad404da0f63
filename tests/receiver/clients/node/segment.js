// The story of tests/receiver/clients/story.py, told by @segment/analytics-node:
// segment.js ENDPOINT WRITE_KEY [CALLS_A_BATCH]
const { Analytics } = require('@segment/analytics-node')

const [endpoint, writeKey, flushAt = 15] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host: endpoint, httpRequestTimeout: 1000, flushAt: Number(flushAt) })
analytics.on('error', (error) => {
  console.error(error)
  process.exitCode = 1
})

analytics.page({ anonymousId: 'visitor-1', name: 'Pricing', properties: { url: 'https://shop.test/pricing' } })
analytics.identify({
  userId: 'pgibbons',
  anonymousId: 'visitor-1',
  traits: { email: 'pgibbons@example.com', name: 'Peter Gibbons' },
})
analytics.track({ userId: 'pgibbons', event: 'Item Purchased', properties: { revenue: 14.99, note: 'Zoë 💶' } })
analytics.screen({ userId: 'pgibbons', name: 'Home', properties: { tabs: 3 } })
analytics.group({ userId: 'pgibbons', groupId: 'initech', traits: { name: 'Initech', employees: 420 } })
analytics.alias({ userId: '019mr8mf4r', previousId: 'pgibbons' })
analytics.closeAndFlush({ timeout: 60_000 })
