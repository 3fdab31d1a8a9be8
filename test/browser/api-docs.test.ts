import t from 'tap'
import { listening } from '../helpers.ts'
import { newPage, open, skip } from './chromium.ts'

const order = {
  path: '/orders/:id',
  methods: ['GET'],
  openapi: { summary: 'Returns an order' },
  respond: { body: 'order {params.id}' }
}

t.test('shows the operations', { skip }, async (t) => {
  const browser = await open()
  t.teardown(() => browser.close())
  const { url } = await listening(t, {
    securityHeaders: { preset: 'strict' },
    routes: [
      order,
      { path: '/docs/*', openapi: false, apiDocs: {} },
      { path: '/plain/*', openapi: false, apiDocs: { ui: false } }
    ]
  })
  for (const colorScheme of ['light', 'dark'] as const)
    t.test(`on a ${colorScheme} phone`, async (t) => {
      const context = await browser.newContext({ colorScheme, viewport: { width: 360, height: 640 } })
      t.teardown(() => context.close())
      const { page, complaints } = await newPage(context)
      const isWider = (): Promise<boolean> =>
        page.evaluate<boolean>('document.documentElement.scrollWidth > innerWidth')

      await page.goto(`${url}/plain`)
      t.equal(page.url(), `${url}/plain/`)
      t.equal(await page.getByText('Returns an order').count(), 1)
      await page.getByText('Details').click()
      t.ok(await page.getByText('id (path, required)').isVisible())
      t.notOk(await isWider(), 'nothing has to be scrolled sideways')

      await page.goto(`${url}/docs`)
      await page.getByText('Returns an order').click()
      await page.getByRole('button', { name: 'Try it out' }).click()
      await page.getByPlaceholder('id').fill('7')
      await page.getByRole('button', { name: 'Execute' }).click()
      await page.getByText('order 7').first().waitFor()
      t.equal(
        await page.evaluate('document.documentElement.className'),
        colorScheme === 'dark' ? 'dark-mode' : ''
      )
      t.same(complaints, [], 'the policy blocks nothing that the pages need')
    })
})
