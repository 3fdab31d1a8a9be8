import type { BrowserContextOptions } from 'playwright-core'
import t from 'tap'
import { open, skip } from './chromium.ts'
import { seriousFaults, shop, visit } from './dashboard.ts'

t.test('the dashboard', { skip }, async (t) => {
  const browser = await open()
  t.teardown(() => browser.close())

  for (const [name, options] of Object.entries({
    'on a light screen': { colorScheme: 'light' },
    'on a dark screen': { colorScheme: 'dark' },
    'on a dark phone': { colorScheme: 'dark', viewport: { width: 360, height: 740 } }
  } satisfies Record<string, BrowserContextOptions>))
    t.test(`shows the gateway ${name}`, async (t) => {
      const { admin, write, engine } = await shop(t)
      const outside: string[] = []
      const { page, complaints } = await visit(t, browser, admin, options)
      page.on('request', (request) => {
        if (!request.url().startsWith(admin)) outside.push(request.url())
      })
      for (const heading of [
        'Requests per second',
        'Latency',
        'Routes',
        'Upstreams',
        'Recent refusals',
        'Limits',
        'Caches',
        'Reloads'
      ])
        await page.getByRole('heading', { name: heading }).first().waitFor()
      await page.getByText('SP_ERR_RATE_LIMIT_EXCEEDED').waitFor()
      t.ok(await page.getByText('This page is read-only').isVisible())
      t.equal(await page.getByRole('button', { name: /Drain/ }).count(), 0)
      t.ok(await page.getByRole('button', { name: '<img src=x' }).isVisible(), 'a name is text')

      await page.getByRole('button', { name: 'products' }).click()
      await page
        .getByRole('cell', { name: /gateway\.json:1:\d+/ })
        .first()
        .waitFor()
      await page.getByText('Resolved config').click()
      const config = page.locator('section').filter({ hasText: 'The options at the root' }).last()
      await config.getByRole('rowheader', { name: 'upstreams.shop.targets' }).waitFor()
      t.equal(await config.getByRole('rowheader', { name: 'upstreams.shop.balance' }).count(), 0)
      await config.getByText('Also defaults').click()
      await config.getByRole('rowheader', { name: 'upstreams.shop.balance' }).waitFor()
      await page.getByText('Latency as a table').click()
      await page.getByRole('columnheader', { name: 'p95' }).first().waitFor()

      write({
        metrics: true,
        routes: [{ name: 'products', path: '/products/:id', respond: { body: 'sold out' } }]
      })
      await engine.reload('a test')
      await page.getByText('What changed').click()
      await page.getByText('"body": "sold out"').waitFor()

      t.strictSame(await seriousFaults(page), [], 'axe-core finds nothing serious')
      t.equal(
        await page.evaluate('document.documentElement.scrollWidth > innerWidth'),
        false,
        'fits the screen'
      )
      t.strictSame(complaints, [], 'the policy blocks nothing')
      t.strictSame(outside, [], 'nothing comes from outside')
    })
})
