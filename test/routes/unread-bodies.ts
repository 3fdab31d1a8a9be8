import type { FastifyInstance, LightMyRequestResponse } from 'fastify'

/** Bodies of several types, malformed ones included, for routes that read no body. */
export const bodies: [type: string | undefined, payload: string][] = [
  ['application/json', '{"half": '],
  ['application/json', ''],
  ['text/xml', '<a/>'],
  ['nonsense', 'of an invalid type'],
  ['multipart/form-data; boundary=x', '--x'],
  ['application/x-www-form-urlencoded', 'a=b'],
  [undefined, 'bytes']
]

/** Sends one of these bodies. */
export const post = (
  app: FastifyInstance,
  url: string,
  [type, payload]: [string | undefined, string]
): Promise<LightMyRequestResponse> =>
  app.inject({ method: 'POST', url, payload, headers: type === undefined ? {} : { 'content-type': type } })
