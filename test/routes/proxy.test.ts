import t from 'tap'
import { ask, listening, type Seen, upstream } from '../helpers.ts'

t.test('forwards a request to the upstream and its answer back', async (t) => {
  const { url } = await listening(t, {
    routes: [{ path: '/search/*', proxy: { upstream: await upstream(t), rewrite: '/' } }]
  })
  const { status, text } = await ask(`${url}/search/a%2Fb?q=1`)
  t.equal(status, 200)
  t.match(JSON.parse(text) as Seen, { method: 'GET', url: '/a%2Fb?q=1' })
})
