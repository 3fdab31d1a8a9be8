import t from 'tap'
import { ALL_VERSIONS, type Answer, front } from './front.ts'

const counted =
  (fields: Record<string, string>): Answer =>
  (_request, response, count) => {
    response.writeHead(200, fields)
    response.end(`answer ${count}`)
  }

for (const versions of ALL_VERSIONS)
  t.test(`HTTP/${versions.client} to HTTP/${versions.upstream}`, async (t) => {
    const fresh = counted({ 'cache-control': 'max-age=60', 'content-type': 'text/plain' })
    const { get, seen } = await front(t, {}, fresh, { versions })
    const first = await get('/a')
    t.match(first, { status: 200, body: 'answer 1', cacheStatus: 'sallyport; fwd=uri-miss; stored' })
    const second = await get('/a')
    t.match(second, { status: 200, body: 'answer 1', cacheStatus: /^sallyport; hit; ttl=\d+$/ })
    t.equal(second.headers['content-type'], 'text/plain')
    t.match(second.headers['age'], /^\d+$/)
    const head = await get('/a', { method: 'HEAD' })
    t.match(head, { status: 200, body: '', cacheStatus: /hit/ })
    t.equal(head.headers['content-length'], '8')
    const conditional = await get('/a', { headers: { 'if-none-match': second.headers['etag'] ?? '' } })
    t.match(conditional, { status: 304, body: '' })
    const part = await get('/a', { headers: { range: 'bytes=0-5' } })
    t.match(part, { status: 206, body: 'answer' })
    t.equal(part.headers['content-range'], 'bytes 0-5/8')
    t.equal(seen.length, 1)
    t.equal(seen[0]?.headers['accept-encoding'], 'identity')
    t.match(await get('/a', { method: 'POST', body: 'x' }), {
      body: 'answer 2',
      cacheStatus: 'sallyport; fwd=method'
    })
    t.match(await get('/a'), { body: 'answer 3', cacheStatus: 'sallyport; fwd=uri-miss; stored' })
    t.match(await get('/b', { headers: { 'cache-control': 'only-if-cached' } }), { status: 504 })
  })
