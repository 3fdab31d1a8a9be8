import type { FastifyReply, FastifyRequest } from 'fastify'
import { queryValue } from '../../src/lib/http/url-parts.ts'
import { notLoggedIn } from './errors.ts'

/** GET /session: the user who is logged in and, with `?sessions`, all sessions of that user. */
export async function showSession(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, callerOfSession } = request.server
  const caller = await callerOfSession(request, reply)
  if (caller === null || sessions === null) throw notLoggedIn()
  reply.header('cache-control', 'no-store')
  const { id, name = id, email, roles, by } = caller
  const listed = queryValue(request.raw.url ?? '', 'sessions') !== undefined
  return {
    id,
    name,
    ...(email === undefined ? {} : { email }),
    roles,
    by,
    ...(listed ? { sessions: (await sessions.listOwn(request)).map(describeSession) } : {})
  }
}

const describeSession = ({
  created,
  ...rest
}: {
  id: string
  created: number
  current: boolean
}): object => ({
  ...rest,
  since: new Date(created).toISOString()
})
