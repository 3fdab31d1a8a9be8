import t, { type Test } from 'tap'
import { gateway } from '../helpers.ts'

/** Counts what Fastify loaded to make a gateway of so many routes. */
async function pluginsOf(t: Test, count: number): Promise<number> {
  const targets = [{ proxy: { upstream: 'http://127.0.0.1:1' } }, { respond: { body: 'x' } }]
  const routes = Array.from({ length: count }, (_, i) => ({ path: `/r${i}/*`, ...targets[i % 2] }))
  const app = await gateway(t, { routes })
  return app.printPlugins().split('\n').length
}

t.test('a route is no plugin of its own to Fastify, whose plugins wait for each other', async (t) => {
  t.equal(await pluginsOf(t, 60), await pluginsOf(t, 20))
})
