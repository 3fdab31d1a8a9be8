import t from 'tap'
import { gateway } from '../../helpers.ts'
import { readSuite, suiteTest } from '../../schema-suite.ts'

const SAMPLE = 200

suiteTest(t, 'a sample of the JSON-Schema-Test-Suite gets the same verdict over HTTP', async (t) => {
  const groups = readSuite().filter(({ file, schema }) => {
    const text = JSON.stringify(schema)
    // Nothing is fetched, and a schema of a route is an object.
    return typeof schema === 'object' && !/localhost:1234|__proto__/.test(text) && file !== 'vocabulary.json'
  })
  const all = groups.flatMap(({ tests, ...group }, i) =>
    tests
      .filter(({ data }) => !JSON.stringify(data).includes('__proto__'))
      .map((test) => ({ ...group, ...test, group: group.description, path: `/${i}` }))
  )
  const sample = all.filter((_, i) => i % Math.floor(all.length / SAMPLE) === 0).slice(0, SAMPLE)
  t.equal(sample.length, SAMPLE)
  const app = await gateway(t, {
    routes: groups.flatMap(({ schema }, i) =>
      sample.some(({ path }) => path === `/${i}`)
        ? [{ path: `/${i}`, validate: { body: schema }, respond: { status: 204 } }]
        : []
    )
  })
  for (const { file, group, description, path, data, valid } of sample) {
    const { statusCode } = await app.inject({
      method: 'POST',
      url: path,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify(data)
    })
    t.equal(statusCode, valid ? 204 : 400, `${file}: ${group}: ${description}`)
  }
})
