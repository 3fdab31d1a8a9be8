/** The module of an extension: a target that throws an error of each kind. */
export const throwingTarget = `
export const key = 'boom'
export const target = true
export const options = { type: 'object', properties: {}, additionalProperties: false }
const errors = {
  error: () => new Error('the password of the database is 1234'),
  type: () => new TypeError("Cannot read properties of undefined (reading 'id')"),
  text: () => 'a text',
  status: () => Object.assign(new Error('the stack of it'), { statusCode: 503 }),
  refused: () => Object.assign(new Error('row 7 of users'), { statusCode: 409 }),
  teapot: () => Object.assign(new Error('short and stout'), { statusCode: 200 }),
  own: () => Object.assign(new Error('<script>alert("1" + \\'2\\')</script> & more'), {
    code: 'SP_ERR_BOOM_TOO_LOUD',
    statusCode: 418,
    headers: { 'x-why': 'loud' },
    members: { loudness: 11 }
  })
}
export default async function boom(app, { routes }) {
  for (const { mounts } of routes)
    for (const mount of mounts)
      app.route({
        ...mount,
        method: [...mount.method],
        exposeHeadRoute: false,
        handler: async (request) => { throw errors[request.params.how]() }
      })
}
`
