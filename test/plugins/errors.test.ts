import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway } from '../helpers.ts'

t.test(
  'answers with the pages of the config where HTML is wanted, and fills in what they ask for',
  async (t) => {
    const folder = t.testdir({
      '404.html':
        '<style>p { color: red }</style><p>{status} {title}: {detail} ({code}, {requestId}, {other})</p>',
      '5xx.html': 'server {status}',
      '503.html': 'busy {status}'
    })
    const page = (name: string): string => join(folder, name)
    const app = await gateway(t, {
      errors: { pages: { '404': page('404.html'), '503': page('503.html'), '5xx': page('5xx.html') } },
      routes: [
        { path: '/busy', respond: {}, fault: { status: 503 } },
        { path: '/bad', respond: {}, fault: { status: 500 } },
        { path: '/own', respond: {}, fault: { status: 500 }, errors: { pages: { '5xx': page('404.html') } } },
        { path: '/html', respond: {}, fault: { status: 503 }, errors: { format: 'html' } }
      ]
    })
    const cases = [
      { path: '/busy', accept: 'text/html', body: /^busy 503$/ },
      { path: '/bad', accept: 'text/html', body: /^server 500$/ },
      { path: '/own', accept: 'text/html', body: /500 Internal Server Error: This failure is a drill/ },
      { path: '/html', accept: '*/*', body: /^busy 503$/ },
      { path: '/busy', accept: 'application/json', body: /"code":"SP_ERR_FAULT_INJECTED"/ },
      { path: '/busy', accept: '*/*', body: /"code":"SP_ERR_FAULT_INJECTED"/ },
      {
        path: '/none',
        accept: 'text/html',
        body: /^<style>p \{ color: red \}<\/style><p>404 Not Found: .+ \(SP_ERR_ROUTE_UNKNOWN, a&lt;b, \{other\}\)<\/p>$/
      }
    ]
    for (const { path, accept, body } of cases) {
      const answer = await app.inject({ url: path, headers: { accept, 'x-request-id': 'a<b' } })
      const wanted =
        path === '/none' ? /<\/style><p>404 Not Found: .+ \(SP_ERR_ROUTE_UNKNOWN, [\w-]+, \{other\}\)/ : body
      t.match(answer.body, wanted, `${path} ${accept}`)
    }
  }
)

t.test('refuses a page that can not be read, with the place', async (t) => {
  const folder = t.testdir({})
  const file = join(folder, 'gateway.json')
  writeFileSync(
    file,
    JSON.stringify({ errors: { pages: { '502': 'gone.html', '600': 'x.html' } }, routes: [] })
  )
  await t.rejects(loadConfig(file, {}), { message: /errors\.pages\.600/ })
  writeFileSync(file, JSON.stringify({ errors: { pages: { '502': 'gone.html' } }, routes: [] }))
  await t.rejects(loadConfig(file, {}), {
    message: /errors\.pages\.502: The file ".*gone\.html" can't be read/
  })
})
