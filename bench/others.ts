import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A server that is not Node's: what starts it, in the foreground and with one worker. */
export interface Other {
  readonly name: string
  readonly port: number
  readonly command: string
  readonly args: readonly string[]
}

const has = (command: string, flag: string): boolean => spawnSync(command, [flag]).error === undefined

/** Writes the configs of nginx, HAProxy and Caddy, as far as they are installed: bare reverse proxies with connections kept to the upstream, nginx also with the headers, the log and the limit that Sallyport has. */
export function others(folder: string, upstream: number): Other[] {
  const file = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const found: Other[] = []
  if (has('nginx', '-v'))
    for (const [name, port, http, server] of [
      ['nginx', 19_310, 'access_log off;', ''],
      ['nginx, the same concerns', 19_311, LIKE_OURS_HTTP(folder), LIKE_OURS_SERVER]
    ] as const)
      found.push({
        name,
        port,
        command: 'nginx',
        args: [
          '-p',
          folder,
          '-e',
          join(folder, 'error.log'),
          '-c',
          file(`${port}.conf`, nginx(folder, port, upstream, http, server))
        ]
      })
  if (has('haproxy', '-v'))
    found.push({
      name: 'HAProxy',
      port: 19_312,
      command: 'haproxy',
      args: ['-q', '-f', file('haproxy.cfg', haproxy(19_312, upstream))]
    })
  if (has('caddy', 'version'))
    found.push({
      name: 'Caddy',
      port: 19_313,
      command: 'caddy',
      args: ['run', '--adapter', 'caddyfile', '--config', file('Caddyfile', caddy(19_313, upstream))]
    })
  return found
}

const nginx = (folder: string, port: number, upstream: number, http: string, server: string): string => `
daemon off;
worker_processes 1;
pid ${folder}/${port}.pid;
events { worker_connections 1024; }
http {
  upstream up { server 127.0.0.1:${upstream}; keepalive 128; keepalive_requests 1000000000; }
  keepalive_requests 1000000000;
  # Bodies of any size pass as they come, as they do through the others; none waits in a file.
  client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
  client_body_temp_path ${folder}/b${port}; proxy_temp_path ${folder}/p${port}; fastcgi_temp_path ${folder}/f${port}; uwsgi_temp_path ${folder}/u${port}; scgi_temp_path ${folder}/s${port};
  ${http}
  server {
    listen 127.0.0.1:${port};
    location /a/ {
      proxy_pass http://up/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr;
      ${server}
    }
  }
}
`

const LIKE_OURS_HTTP = (folder: string): string => `
  log_format line escape=json '{"time":"$time_iso8601","requestId":"$request_id","method":"$request_method","path":"$uri","status":$status,"duration":$request_time,"upstream":"$upstream_addr","upstreamTime":"$upstream_response_time","bytes":$bytes_sent,"ip":"$remote_addr"}';
  access_log ${folder}/access.log line buffer=4k flush=200ms;
  limit_req_zone $binary_remote_addr zone=all:10m rate=1000000r/s;
  map $http_origin $allowed { default ""; "https://app.example.com" $http_origin; }`

const LIKE_OURS_SERVER = `
      limit_req zone=all burst=1000000 nodelay;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_hide_header X-Powered-By;
      add_header X-Request-Id $request_id always;
      add_header X-Content-Type-Options nosniff always;
      add_header X-Frame-Options SAMEORIGIN always;
      add_header Referrer-Policy strict-origin-when-cross-origin always;
      add_header Access-Control-Allow-Origin $allowed always;
      add_header Vary Origin always;
      add_header X-Response-Time $request_time always;`

const haproxy = (port: number, upstream: number): string => `
global
  nbthread 1
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port}
  http-request replace-path /a/(.*) /\\1
  option forwardfor
  default_backend up
backend up
  server one 127.0.0.1:${upstream}
`

const caddy = (port: number, upstream: number): string => `
{
  admin off
  auto_https off
}
http://127.0.0.1:${port} {
  handle_path /a/* {
    reverse_proxy 127.0.0.1:${upstream}
  }
}
`
