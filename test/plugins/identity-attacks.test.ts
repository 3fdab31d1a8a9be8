import t from 'tap'
import { listening, raw, type Seen, upstream } from '../helpers.ts'

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
