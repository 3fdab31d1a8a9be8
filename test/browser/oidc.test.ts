import type { Browser, BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { listening } from '../helpers.ts'
import { provider } from '../provider.ts'
import { newPage, open, skip } from './chromium.ts'

const HTML = { 'content-type': 'text/html; charset=utf-8' }
const page = (title: string, rest = ''): string =>
  `<!doctype html><title>${title}</title><link rel="icon" href="data:,"><h1>${title} of {caller.name}</h1>${rest}`

/** A gateway with two pages and a real provider that knows it. */
async function stage(t: Test): Promise<{ url: string; issuer: string; people: Map<string, unknown> }> {
  const real = await provider(t)
  const { url } = await listening(t, {
    session: { idle: '7d', absolute: '30d' },
    auth: {
      session: true,
      oidc: {
        issuer: real.issuer,
        clientId: 'gateway',
        clientSecret: 'a secret of the client',
        rolesClaim: 'realm_access.roles'
      }
    },
    routes: [
      {
        path: '/orders',
        respond: {
          headers: HTML,
          body: page('Orders', '<form method="post" action="/logout"><button>Log out</button></form>')
        }
      },
      { path: '/bills', respond: { headers: HTML, body: page('Bills') } },
      {
        path: '/',
        auth: false,
        respond: { headers: HTML, body: '<!doctype html><title>Home</title><h1>Home</h1>' }
      }
    ]
  })
  real.know(url)
  return { url, issuer: real.issuer, people: real.people }
}

/** Logs in at the provider's own pages, by hand, and waits until one is back at a page. */
async function logIn(tab: Page, person: string, back: string): Promise<void> {
  await tab.fill('input[name=login]', person)
  await tab.fill('input[name=password]', 'any')
  await tab.click('button[type=submit]')
  await tab.locator('input[name=login]').waitFor({ state: 'detached' })
  await tab.click('button[type=submit]')
  await tab.waitForURL(back)
}

const heading = (tab: Page): Promise<string> => tab.locator('h1').innerText()

t.test('log in at a provider, in a browser', { skip }, async (t) => {
  const browser: Browser = await open()
  t.teardown(() => browser.close())
  const visit = async (t: Test): Promise<{ context: BrowserContext; tab: Page }> => {
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const { page: tab } = await newPage(context)
    return { context, tab }
  }

  t.test('returns to the requested page and stays logged in', async (t) => {
    const { url } = await stage(t)
    const { context, tab } = await visit(t)
    await tab.goto(`${url}/orders?page=2`)
    t.match(tab.url(), '/interaction/')
    await logIn(tab, 'ada', `${url}/orders?page=2`)
    t.equal(await heading(tab), 'Orders of Ada Lovelace')
    t.equal(tab.url(), `${url}/orders?page=2`)
    await tab.reload()
    t.equal(await heading(tab), 'Orders of Ada Lovelace')
    const cookies = await context.cookies(url)
    const own = cookies.filter(({ name }) => name === 'sid' || name.startsWith('sallyport'))
    t.equal(own.length, 1, 'what the log-in needed is gone')
    t.match(own[0], { httpOnly: true, sameSite: 'Lax' })
  })

  t.test('going back does no harm', async (t) => {
    const { url } = await stage(t)
    const { tab } = await visit(t)
    await tab.goto(`${url}/orders`)
    await logIn(tab, 'ada', `${url}/orders`)
    await tab.goto(`${url}/bills`)
    t.equal(await heading(tab), 'Bills of Ada Lovelace')
    await tab.goBack()
    t.equal(await heading(tab), 'Orders of Ada Lovelace')
    // Before that was the provider's page, which is done; whatever it shows, the session is as it was.
    await tab.goBack().catch(() => null)
    await tab.goto(`${url}/bills`)
    t.equal(await heading(tab), 'Bills of Ada Lovelace')
  })

  t.test('two tabs log in, one after the other', async (t) => {
    const { url } = await stage(t)
    const { context, tab: one } = await visit(t)
    const { page: two } = await newPage(context)
    await one.goto(`${url}/orders`)
    await two.goto(`${url}/bills`)
    await logIn(one, 'ada', `${url}/orders`)
    t.equal(await heading(one), 'Orders of Ada Lovelace')
    await two.goto(`${url}/bills`)
    t.equal(await heading(two), 'Bills of Ada Lovelace')
  })

  t.test('changes at the provider take effect when the tokens expire', async (t) => {
    const { url, people } = await stage(t)
    const { tab } = await visit(t)
    await tab.goto(`${url}/orders`)
    await logIn(tab, 'ada', `${url}/orders`)
    people.set('ada', { name: 'Ada King', email: 'ada@example.com', roles: [] })
    const { now } = Date
    t.intercept(Date, 'now', { value: () => now() + 120_000 })
    await tab.reload()
    t.equal(await heading(tab), 'Orders of Ada King')
  })

  t.test('logs out here and at the provider', async (t) => {
    const { url, issuer } = await stage(t)
    const { tab } = await visit(t)
    await tab.goto(`${url}/orders`)
    await logIn(tab, 'ada', `${url}/orders`)
    await tab.click('button')
    await tab.waitForURL(`${issuer}/session/end**`)
    await tab.click('button[value=yes]')
    await tab.waitForURL(`${url}/**`)
    t.equal(await heading(tab), 'Home')
    await tab.goto(`${url}/orders`)
    t.match(tab.url(), '/interaction/', 'the provider asks again who one is')
    t.ok(await tab.locator('input[name=login]').isVisible())
  })
})
