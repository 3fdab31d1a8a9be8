import t from 'tap'
import { ask } from '../helpers.ts'
import { open, skip } from './chromium.ts'
import { seriousFaults, shop, TOKEN, visit } from './dashboard.ts'

t.test('the dashboard of a gateway that changes', { skip }, async (t) => {
  const browser = await open()
  t.teardown(() => browser.close())

  t.test('watches a target go unhealthy and come back, and drains one', async (t) => {
    const { admin, url, fail, engine, line } = await shop(t, { token: TOKEN })
    const { page, complaints } = await visit(t, browser, admin)
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

  t.test('explains a recent refusal, and a request of the form', async (t) => {
    const { admin, url } = await shop(t, { token: TOKEN })
    await ask(`${url}/nowhere`)
    const { page, complaints } = await visit(t, browser, admin)
    page.setDefaultTimeout(9000)
    await page.getByLabel('Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Open' }).click()
    await page
      .locator('.refusals li', { hasText: 'SP_ERR_ROUTE_UNKNOWN' })
      .getByRole('button', { name: 'Explain' })
      .click()
    const found = page.locator('.explanation')
    await found.getByText('SP_ERR_ROUTE_UNKNOWN').waitFor()
    await page.getByLabel('URL or path').fill('/products/%37?q=1')
    await page.getByLabel('Headers, one in a line').fill('x-own: a\nte: trailers')
    await page.locator('#explain').getByRole('button', { name: 'Explain' }).click()
    await found.getByText('forwarded', { exact: true }).waitFor()
    await found.getByRole('row', { name: 'x-own a the client' }).waitFor()
    await found.getByRole('row', { name: /^te removed hop-by-hop/ }).waitFor()
    const { SCREENSHOTS } = process.env
    if (SCREENSHOTS !== undefined)
      await page.locator('#explain').screenshot({ path: `${SCREENSHOTS}/explain.png` })
    t.strictSame(await seriousFaults(page), [])
    await page.getByLabel('Caller as JSON').fill('{')
    await page.locator('#explain').getByRole('button', { name: 'Explain' }).click()
    await page.getByRole('alert').getByText('expected a caller such as').waitFor()
    t.strictSame(complaints, [])
  })

  t.test('shows what it last knew of a gateway that does not answer', async (t) => {
    const { admin } = await shop(t)
    const { page } = await visit(t, browser, admin)
    await page.getByText('2 of 2 in use').waitFor()
    await page.route('**/figures*', (route) => route.abort())
    await page.getByText('no answer, showing the last figures').waitFor()
    t.ok(await page.getByText('2 of 2 in use').isVisible())
    await page.unroute('**/figures*')
    await page.getByText('live', { exact: true }).waitFor()
  })
})
