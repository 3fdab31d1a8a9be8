import t from 'tap'
import { ask, listening, raw, type Seen, upstream } from '../helpers.ts'

t.test(
  'who decides for a gateway learns what is asked for from the gateway alone, whatever a client says of it',
  async (t) => {
    const asked: string[][] = []
    // As some services do, it believes X-Original-URL before X-Forwarded-Uri.
    const decider = await upstream(t, ({ headers, rawHeaders }, response) => {
      asked.push(rawHeaders.filter((_value, i) => i % 2 === 0))
      const uri = headers['x-original-url'] ?? headers['x-original-uri'] ?? headers['x-forwarded-uri']
      response.writeHead(uri === '/public' ? 200 : 403).end()
    })
    const config = {
      auth: { forward: { upstream: decider } },
      routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
    }
    const { url } = await listening(t, config)
    const names = [
      ...['X-Original-URL', 'X_Original_Url', 'x-original-uri', 'X-Original-Method', 'X-Rewrite-URL'],
      ...['X-Real-IP', 'Forwarded', 'True-Client-IP', 'X~Original~URL', 'Proxy']
    ]
    t.equal((await ask(`${url}/public`)).status, 200)
    for (const name of names) {
      t.equal((await ask(`${url}/admin`, { headers: { [name]: '/public' } })).status, 403, name)
      t.notOk(
        asked.at(-1)?.some((each) => each.toLowerCase() === name.toLowerCase()),
        name
      )
    }
    t.test('and from a trusted proxy', async (t) => {
      const { url } = await listening(t, { trustedProxies: ['loopback'], ...config })
      t.equal((await ask(`${url}/admin`, { headers: { 'X-Original-URL': '/public' } })).status, 200)
      t.equal((await ask(`${url}/admin`, { headers: { X_Original_URL: '/public' } })).status, 403)
    })
  }
)

t.test('no client can spell an identity header so that it passes, nor take the real one away', async (t) => {
  const { port } = await listening(t, {
    auth: {
      apiKeys: { list: [{ id: 'ada', secret: 'right' }] },
      identity: { 'x-user-id': 'id' },
      optional: true
    },
    routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
  })
  const spellings = ['x-user-id', 'X_User_Id', 'x.user.id', 'x~user~id', 'X+User|Id', "x'user'id"]
  const lines = spellings.map((name) => `${name}: root\r\n`).join('')
  const seenBy = async (more: string): Promise<Seen> => {
    const answer = await raw(
      port,
      `GET /a HTTP/1.1\r\nhost: a\r\n${lines}${more}connection: close, x-user-id\r\n\r\n`
    )
    return JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1)) as Seen
  }
  t.notMatch((await seenBy('')).rawHeaders.join(), /root/)
  const { headers, rawHeaders } = await seenBy('x-api-key: right\r\n')
  t.equal(headers['x-user-id'], 'ada')
  t.notMatch(rawHeaders.join(), /root|right/)
})
