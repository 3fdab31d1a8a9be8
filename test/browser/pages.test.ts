import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { listening } from '../helpers.ts'
import { newPage, open, skip } from './chromium.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const LONG_NAME = `${'Konstantinopel'.repeat(6)} \u05d0\u05d1\u05d2`

const stage = (t: Test) =>
  listening(t, {
    auth: {
      global: false,
      session: true,
      users: {
        list: [{ name: LONG_NAME, secret: 'lovelace', email: 'a@example.com', roles: ['staff', 'on call'] }]
      }
    },
    routes: [
      { path: '/private', auth: true, respond: {} },
      { path: '/docs/*', apiDocs: { ui: false } },
      {
        path: '/orders/:id',
        openapi: { summary: 'Returns an order' },
        validate: { query: { type: 'object', required: ['day', 'page'] } },
        respond: {}
      }
    ]
  })

/** Returns what axe finds, each with its elements. */
async function violations(page: Page): Promise<string[]> {
  // Evaluated by the debugger, since the policy of the page allows no script.
  await page.evaluate(axe)
  const { violations } = await page.evaluate<AxeResults>(`axe.run({ resultTypes: ["violations"] })`)
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

interface Sight {
  readonly name: string
  readonly colorScheme: 'light' | 'dark'
  readonly width: number
  readonly dir?: 'rtl'
  readonly fontSize?: string
}

const sights: Sight[] = [
  { name: 'light', colorScheme: 'light', width: 1024 },
  { name: 'dark', colorScheme: 'dark', width: 1024 },
  { name: 'a small phone with large letters', colorScheme: 'dark', width: 320, fontSize: '200%' },
  // As a browser shows a page that it has translated.
  { name: 'right to left', colorScheme: 'light', width: 360, dir: 'rtl' }
]

t.test('the pages of the gateway and of the demo are readable for everyone', { skip }, async (t) => {
  const browser = await open()
  t.teardown(() => browser.close())
  const { url } = await stage(t)
  const demo = await listening(t, fileURLToPath(new URL('../../gateway.json', import.meta.url)))
  for (const { name, colorScheme, width, dir, fontSize } of sights)
    t.test(name, async (t) => {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 640 } })
      t.teardown(() => context.close())
      const { page, complaints } = await newPage(context)

      /** Looks at the page that is shown. */
      const look = async (title: string): Promise<void> => {
        t.equal(await page.title(), title)
        await page.evaluate(
          `Object.assign(document.documentElement, { dir: ${JSON.stringify(dir ?? 'ltr')} }).style.fontSize = ${JSON.stringify(fontSize ?? '')}`
        )
        t.same(await violations(page), [], `${title}: axe finds nothing`)
        const [whole = 0, seen = 0] = await page.evaluate<number[]>(
          '[document.documentElement.scrollWidth, document.documentElement.clientWidth]'
        )
        t.ok(whole <= seen, `${title}: nothing sticks out (${whole} of ${seen})`)
        const heading = await page.evaluate(
          "(({ direction, textAlign }) => direction + ' ' + textAlign)(getComputedStyle(document.querySelector('h1')))"
        )
        t.equal(heading, `${dir ?? 'ltr'} start`, `${title}: the text begins where it is read from`)
      }
      const press = (role: 'button' | 'link'): Promise<unknown> =>
        Promise.all([page.waitForEvent('domcontentloaded'), page.getByRole(role).click()])

      await page.goto(demo.url)
      await look('Sallyport demo')
      await page.goto(`${url}/nowhere`)
      await look('404 Not Found')
      await page.goto(`${url}/orders/7`)
      await look('400 Bad Request')
      await page.goto(`${url}/docs/`)
      await look('API')
      await page.goto(`${url}/login`)
      await look('Log in')
      await page.getByLabel('Name').fill(LONG_NAME)
      await page.getByLabel('Password').fill('byron')
      await press('button')
      await look('Error: Log in')
      t.equal(await page.getByLabel('Name').inputValue(), LONG_NAME)
      await page.getByLabel('Password').fill('lovelace')
      await press('button')
      await look('Logged in')
      await press('button')
      await look('Logged out')
      t.same(
        complaints.filter((text) => !/status of 40[04]/.test(text)),
        [],
        'the policy blocks nothing that the pages need'
      )
    })
})
