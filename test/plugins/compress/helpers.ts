import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'

/** Decodes a body by its Content-Encoding. */
export function decode(body: Buffer, coding: string | undefined): string {
  if (coding === 'gzip') return gunzipSync(body).toString()
  if (coding === 'br') return brotliDecompressSync(body).toString()
  if (coding === 'zstd') return zstdDecompressSync(body).toString()
  return body.toString()
}

/** Sends a request to a port of this machine, and returns the response once its head is there. */
export async function respond(
  port: number,
  path: string,
  headers: Record<string, string> = {}
): Promise<IncomingMessage> {
  const request = send({ port, path, headers, agent: false }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

/** Sends a request, and returns the response with its decoded body. */
export async function decoded(
  port: number,
  path: string,
  headers: Record<string, string> = {}
): Promise<{ response: IncomingMessage; body: string; bytes: number }> {
  const response = await respond(port, path, headers)
  const body = await buffer(response)
  return { response, body: decode(body, response.headers['content-encoding']), bytes: body.length }
}

/** A text that compresses well. */
export const textOf = (length: number): string =>
  'a line of some text, '.repeat(Math.ceil(length / 21)).slice(0, length)

/** The coding that browsers ask for. */
export const ALL = { 'accept-encoding': 'gzip, deflate, br, zstd' }
