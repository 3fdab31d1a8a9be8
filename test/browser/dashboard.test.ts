import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type Stage, stage } from '../admin.ts'
import { ask, upstream } from '../helpers.ts'
import { newPage, open, skip } from './chromium.ts'

const TOKEN = 'a token of the tests'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** A gateway with something in every part of the page. */
async function shop(
  t: Test,
  options: { token?: string } = {}
): Promise<Stage & { fail(yes: boolean): void }> {
  let isFailing = false
  const targets = await Promise.all(
    ['0', '1'].map((name) =>
      upstream(t, (_request, response) => {
        const isDown = isFailing && name === '0'
        response.writeHead(isDown ? 503 : 200, { 'cache-control': 'max-age=60' }).end(name)
      })
    )
  )
  const staged = await stage(
    t,
    {
      metrics: true,
      upstreams: {
        shop: { targets, health: { path: '/', every: '50ms', unhealthyAfter: 1, healthyAfter: 1 } }
      },
      routes: [
        { name: 'products', path: '/products/:id', proxy: { upstream: 'shop' } },
        { name: 'prices', path: '/prices', cache: true, proxy: { upstream: 'shop' } },
        { name: 'few', path: '/few', rateLimit: { max: 1, window: '1h' }, respond: { body: '<b>few</b>' } },
        { name: '<img src=x onerror=alert(1)>', path: '/quoted', respond: { body: 'x' } }
      ]
    },
    options
  )
  for (const path of ['/products/1', '/prices', '/prices', '/few', '/few']) await ask(staged.url + path)
  return {
    ...staged,
    fail: (yes) => {
      isFailing = yes
    }
  }
}

/** Runs axe-core and returns what is serious. */
async function seriousFaults(page: Page): Promise<string[]> {
  // The policy of the page allows no script from elsewhere; the debugger may run one.
  await page.evaluate(AXE)
  const { violations } = await page.evaluate<{ violations: AxeViolation[] }>(
    'axe.run(document, { resultTypes: ["violations"] })'
  )
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

interface AxeViolation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly html: string }[]
}

t.test('the dashboard', { skip }, async (t) => {
  const browser = await open()
  t.teardown(() => browser.close())
  const visit = async (
    t: Test,
    url: string,
    options: BrowserContextOptions = {}
  ): Promise<{ page: Page; complaints: string[] }> => {
    const context = await browser.newContext({ viewport: { width: 1600, height: 1000 }, ...options })
    t.teardown(() => context.close())
    const opened = await newPage(context)
    await opened.page.goto(url)
    return opened
  }

  for (const [name, options] of Object.entries({
    'on a light screen': { colorScheme: 'light' },
    'on a dark screen': { colorScheme: 'dark' },
    'on a dark phone': { colorScheme: 'dark', viewport: { width: 360, height: 740 } }
  } satisfies Record<string, BrowserContextOptions>))
    t.test(`shows the gateway ${name}`, async (t) => {
      const { admin, write, engine } = await shop(t)
      const outside: string[] = []
      const { page, complaints } = await visit(t, admin, options)
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

  t.test('watches a target go unhealthy and come back, and drains one', async (t) => {
    const { admin, url, fail, engine, line } = await shop(t, { token: TOKEN })
    const { page, complaints } = await visit(t, admin)
    page.setDefaultTimeout(9000)
    await page.getByLabel('Token').fill('another')
    await page.getByRole('button', { name: 'Open' }).click()
    await page.getByText('This is not the token of the gateway.').waitFor()
    t.strictSame(await seriousFaults(page), [])
    await page.getByLabel('Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Open' }).click()
    const targets = page.locator('.targets li')
    await targets.first().getByText('healthy', { exact: true }).waitFor()

    fail(true)
    await targets.first().getByText('unhealthy', { exact: true }).waitFor()
    await page.getByText('1 of 2 in use').waitFor()
    fail(false)
    await page.getByText('2 of 2 in use').waitFor()

    await page
      .getByRole('button', { name: /^Drain .* of shop/ })
      .first()
      .click()
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click()
    await page.getByText(/of shop is drained\./).waitFor()
    await targets.first().getByText('drained', { exact: true }).waitFor()
    t.match(await line(({ action }) => action === 'drain'), { upstream: 'shop' })
    for (let i = 0; i < 4; i++) t.equal((await ask(`${url}/products/1`)).text, '1')
    t.strictSame(await seriousFaults(page), [])
    await page.getByRole('button', { name: /^Undrain / }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Undrain' }).click()
    await page.getByText('2 of 2 in use').waitFor()

    await page.getByLabel('Log level').selectOption('debug')
    await page.getByRole('button', { name: 'Change' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Change' }).click()
    await page.getByText('The log level is debug now.').waitFor()
    t.equal(engine.logLevel, 'debug')
    await page.getByLabel('Purge by').selectOption('all')
    await page.getByRole('button', { name: 'Purge' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Purge' }).click()
    await page.getByText('Purged one name.').waitFor()

    await page.reload()
    await page.getByText('2 of 2 in use').waitFor()
    await page.getByRole('button', { name: 'Forget the token' }).click()
    await page.getByLabel('Token').waitFor()
    t.strictSame(complaints, [])
  })

  t.test('shows what it last knew of a gateway that does not answer', async (t) => {
    const { admin } = await shop(t)
    const { page } = await visit(t, admin)
    await page.getByText('2 of 2 in use').waitFor()
    await page.route('**/figures*', (route) => route.abort())
    await page.getByText('no answer, showing the last figures').waitFor()
    t.ok(await page.getByText('2 of 2 in use').isVisible())
    await page.unroute('**/figures*')
    await page.getByText('live', { exact: true }).waitFor()
  })
})
