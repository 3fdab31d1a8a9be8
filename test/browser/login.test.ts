import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { listening } from '../helpers.ts'
import { newPage, open, skip } from './chromium.ts'

const gate = (t: Test) =>
  listening(t, {
    auth: { session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
    routes: [
      {
        path: '/private',
        respond: {
          headers: { 'content-type': 'text/html; charset=utf-8' },
          body: '<!doctype html><title>Orders</title><link rel="icon" href="data:,"><h1>Orders of {caller.name}</h1>'
        }
      }
    ]
  })

/** Computes how a text stands out from what is behind it (WCAG 2.2, "contrast ratio"). */
async function contrast(page: Page, selector: string): Promise<number> {
  // A text, since what runs in the page has other globals than this file.
  const [color = '', ...behind] = await page.evaluate<string[]>(`(() => {
    let element = document.querySelector(${JSON.stringify(selector)})
    const found = [getComputedStyle(element).color]
    for (; element !== null; element = element.parentElement) found.push(getComputedStyle(element).backgroundColor)
    return found
  })()`)
  const numbers = (text: string): number[] => (text.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (text: string): number => {
    const [r = 0, g = 0, b = 0] = numbers(text).map((value) => {
      const share = value / 255
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const background = behind.find((text) => numbers(text)[3] !== 0) ?? 'rgb(255, 255, 255)'
  const [light = 0, dark = 0] = [color, background].map(luminance).sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}

/** Names what has the focus. */
const focused = async (page: Page): Promise<string> =>
  (await page.locator(':focus').textContent()) || ((await page.locator(':focus').getAttribute('name')) ?? '')

t.test('logs in and out on the page', { skip }, async (t) => {
  const browser = await open()
  t.teardown(() => browser.close())
  for (const colorScheme of ['light', 'dark'] as const)
    t.test(`with the keyboard alone, on a ${colorScheme} screen`, async (t) => {
      const { url } = await gate(t)
      const context = await browser.newContext({ colorScheme })
      t.teardown(() => context.close())
      const { page, complaints } = await newPage(context)
      const name = page.getByRole('textbox', { name: 'Name' })
      const password = page.getByLabel('Password')
      const typePassword = async (word: string): Promise<void> => {
        t.equal(await focused(page), 'password')
        await page.keyboard.type(word)
        await Promise.all([page.waitForEvent('domcontentloaded'), page.keyboard.press('Enter')])
      }
      const readable = async (...selectors: string[]): Promise<void> => {
        for (const selector of selectors) {
          const ratio = await contrast(page, selector)
          t.ok(ratio >= 4.5, `${selector} stands out by ${ratio.toFixed(1)}`)
        }
      }

      await page.goto(`${url}/private?month=may#top`)
      t.equal(new URL(page.url()).pathname, '/login', 'who is not logged in is sent to the page')
      t.equal(await page.title(), 'Log in')
      t.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'Log in')
      t.equal(await page.getByRole('alert').count(), 0)
      t.equal(await name.getAttribute('autocomplete'), 'username')
      t.equal(await password.getAttribute('autocomplete'), 'current-password')
      await readable('h1', 'label', 'button')

      t.equal(await focused(page), 'username', 'the name has the focus')
      await page.keyboard.type('ada')
      await page.keyboard.press('Tab')
      await typePassword('byron')
      t.equal(await page.getByRole('alert').textContent(), 'Invalid username or password.')
      t.match(await page.title(), /^Error/)
      await readable('[role=alert]')
      t.equal(await name.inputValue(), 'ada', 'keeps the name')
      t.equal(await password.inputValue(), '')
      t.equal(
        await password.getAttribute('aria-describedby'),
        await page.getByRole('alert').getAttribute('id'),
        'the focused field is described by the error'
      )

      await typePassword('lovelace')
      t.equal(
        new URL(page.url()).pathname + new URL(page.url()).search,
        '/private?month=may',
        'back where it was'
      )
      t.equal(await page.getByRole('heading').textContent(), 'Orders of ada')
      const [cookie] = await context.cookies()
      t.match(cookie, { name: 'sid', httpOnly: true, sameSite: 'Lax', expires: -1 })

      await page.goto(`${url}/login`)
      t.equal(await page.getByRole('heading').textContent(), 'Hello, ada')
      await readable('h1', 'p', 'button')
      await page.keyboard.press('Tab')
      t.equal(await focused(page), 'Log out')
      await Promise.all([page.waitForEvent('domcontentloaded'), page.keyboard.press('Enter')])
      t.equal(await page.title(), 'Logged out')
      t.same(await context.cookies(), [])
      await Promise.all([page.waitForEvent('domcontentloaded'), page.getByRole('link').click()])
      t.equal(page.url(), `${url}/login`)
      t.equal(await page.title(), 'Log in')

      await page.keyboard.type('ada')
      await page.keyboard.press('Tab')
      await typePassword('lovelace')
      t.equal(page.url(), `${url}/login`, 'stays where nothing else was asked for')
      t.equal(await page.getByRole('heading').textContent(), 'Hello, ada')
      await Promise.all([page.waitForEvent('domcontentloaded'), page.getByRole('button').click()])

      await page.goto(`${url}/private`)
      t.equal(new URL(page.url()).pathname, '/login', 'logged out')
      t.same(complaints, [], 'the console has nothing to complain of')
    })

  t.test('on a small screen, and with large letters', async (t) => {
    const { url } = await gate(t)
    const context = await browser.newContext({ viewport: { width: 320, height: 480 } })
    t.teardown(() => context.close())
    const { page } = await newPage(context)
    await page.goto(`${url}/login`)
    for (const size of ['100%', '200%']) {
      await page.evaluate(`document.documentElement.style.fontSize = '${size}'`)
      const [whole = 0, seen = 0] = await page.evaluate<number[]>(
        '[document.documentElement.scrollWidth, document.documentElement.clientWidth]'
      )
      t.ok(whole <= seen, `nothing sticks out at ${size}`)
      const box = await page.getByRole('button', { name: 'Log in' }).boundingBox()
      t.ok((box?.height ?? 0) >= 44, 'the button is large enough for a thumb')
    }
  })

  t.test('a page of another site cannot log out', async (t) => {
    const { url } = await gate(t)
    const other = await listening(t, {
      securityHeaders: false,
      routes: [
        {
          path: '/',
          respond: {
            headers: { 'content-type': 'text/html' },
            body: `<!doctype html><form method="post" action="${url}/logout"><button>Win</button></form><form method="post" action="${url}/login"><input name="username" value="ada"><input name="password" value="lovelace"><button>Enter</button></form>`
          }
        }
      ]
    })
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const { page } = await newPage(context)
    await page.goto(`${url}/login`)
    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password').fill('lovelace')
    await Promise.all([page.waitForEvent('domcontentloaded'), page.getByRole('button').click()])
    // Another host name is another site to a browser, though both are this machine.
    for (const name of ['Win', 'Enter']) {
      await page.goto(other.url.replace('127.0.0.1', 'localhost'))
      const [answer] = await Promise.all([
        page.waitForResponse((response) => response.url().startsWith(url)),
        page.getByRole('button', { name }).click()
      ])
      t.equal(answer.status(), 403)
    }
    t.equal((await page.goto(`${url}/private`))?.status(), 200)
    t.equal(new URL(page.url()).pathname, '/private', 'still logged in')
  })
})
