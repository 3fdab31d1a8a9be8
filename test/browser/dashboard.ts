import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import { type Stage, stage } from '../admin.ts'
import { ask, upstream } from '../helpers.ts'
import { newPage } from './chromium.ts'

/** The token of the gateways that have one. */
export const TOKEN = 'a token of the tests'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** A gateway with something in every part of the page. */
export async function shop(
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
export async function seriousFaults(page: Page): Promise<string[]> {
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

/** Opens a page in a context of its own, and writes down what its console complains of. */
export async function visit(
  t: Test,
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {}
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1600, height: 1000 }, ...options })
  t.teardown(() => context.close())
  const opened = await newPage(context)
  await opened.page.goto(url)
  return opened
}
