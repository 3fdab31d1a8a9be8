import {
  fp,
  leaveBodies,
  type OptionFault,
  type Static,
  type TargetRoutes,
  Type,
  template,
  templateFaults,
  WHOLE
} from '../src/kit/index.ts'

export const key = 'respond'
export const target = true

export const options = Type.Object(
  {
    status: Type.Integer({
      default: 200,
      minimum: 200,
      maximum: 599,
      description: 'The status of the answer.'
    }),
    headers: Type.Record(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }), Type.String(), {
      additionalProperties: false,
      default: {},
      [WHOLE]: true,
      description: 'The headers of the answer.'
    }),
    body: Type.Optional(
      Type.Unknown({
        [WHOLE]: true,
        description:
          'The body: a text is sent as it is (with values such as "{params.id}"), anything else as JSON.'
      })
    )
  },
  { additionalProperties: false, description: 'Answers by itself.' }
)

export type RespondOptions = Static<typeof options>

export const faults = ({ body }: RespondOptions): OptionFault[] => templateFaults(body, ['body'])

export default fp<TargetRoutes<RespondOptions>>(
  async function respond(app, { routes }) {
    leaveBodies(app)
    for (const { mounts, options: said } of routes) {
      const { status } = said
      const text = typeof said.body === 'string' ? template(said.body) : undefined
      const json = said.body === undefined || text !== undefined ? undefined : JSON.stringify(said.body)
      const type = text === undefined ? 'application/json; charset=utf-8' : 'text/plain; charset=utf-8'
      const headers = { ...(said.body === undefined ? {} : { 'content-type': type }), ...lower(said.headers) }
      for (const mount of mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: async function answer(request, reply) {
            reply.code(status).headers(headers)
            return reply.send(text === undefined ? json : text.render(request))
          }
        })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)

const lower = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
