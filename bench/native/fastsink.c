/* A server that swallows mail and counts it, quick enough never to be what is measured. The figures of a run are only
 * comparable with each other. Options and control lines are told below. Built into a temporary folder by bench/native.py. */
/* fastsink: single-threaded epoll SMTP sink for benches.
 * PIPELINING, 8BITMIME, SMTPUTF8, SIZE, CHUNKING (BDAT), ENHANCEDSTATUSCODES.
 *  -p port     listen on 127.0.0.1:port
 *  -r ms       added round-trip time (half on the input, half on the output)
 *  -t ms       server-side time per transaction between end of data and the reply (per connection, not blocking others)
 *  -m n        max connections (421 above it)
 *  -C          do not announce CHUNKING    -P do not announce PIPELINING
 *  -g          one write per reply (no grouping)
 * Control: "XLABSTATS\r\n" on any connection -> one line of JSON; "XLABRESET\r\n" zeroes.
 * If a message has a header "X-Enq: <unix seconds.fraction>" the enqueue->accepted latency goes into a reservoir.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <sys/un.h>
typedef unsigned long long u64;
enum { CMD, DATA, BDAT };
typedef struct chunk { struct chunk *next; u64 due; int gen; int conn; size_t len; char *p; int kind; } chunk; /* kind 0=in 1=out 2=txn 3=eof */
typedef struct { chunk *h, *t; } fifo;
typedef struct { int fd, gen, st, busy, quit, have_from, have_rcpt, hdr, eof, wantw, nout; char *in; size_t off, len, cap; char *out; size_t olen, ocap, ooff;
  size_t bleft; int blast; double enq; size_t sz; int ls; char hl[64]; int hn; int inh; int counted; int ctl; } conn;
#define RT(c) (rtt>0 && !(c)->ctl)
static conn C[4096]; static int freefd_max; static fifo Fin, Fout, Ftxn; static int ep, lfd, tfd;
static double rtt=0, txn=0; static int maxc=4000, nconn=0, nochunk=0, nopipe=0, nogroup=0;
static u64 msgs, conns, refused, cmds, bytes, inbytes, peak; static u64 first_ns, last_ns; 
static double *lat; static size_t nlat, clat;
static u64 now(){ struct timespec t; clock_gettime(CLOCK_MONOTONIC,&t); return t.tv_sec*1000000000ULL+t.tv_nsec; }
static double wall(){ struct timespec t; clock_gettime(CLOCK_REALTIME,&t); return t.tv_sec+t.tv_nsec*1e-9; }
static void push(fifo*f, chunk*c){ c->next=0; if(f->t) f->t->next=c; else f->h=c; f->t=c; }
static void closec(conn*c){ if(c->fd>=0){ close(c->fd); c->fd=-1; if(c->counted) nconn--; } c->gen++; free(c->in); free(c->out); int g=c->gen; memset(c,0,sizeof *c); c->fd=-1; c->gen=g; }
static void outb(conn*c,const char*s,size_t n){ if(c->olen+n>c->ocap){ c->ocap=(c->olen+n)*2+256; c->out=realloc(c->out,c->ocap);} memcpy(c->out+c->olen,s,n); c->olen+=n; }
static void rawwrite(conn*c,const char*p,size_t n){ while(n){ ssize_t k=write(c->fd,p,n); if(k<0){ if(errno==EAGAIN){ usleep(50); continue;} c->eof=1; return;} p+=k; n-=k; } }
static void flushc(conn*c){ if(!c->olen) return; if(!RT(c)){ rawwrite(c,c->out,c->olen); }
  else { chunk*k=malloc(sizeof*k); k->due=now()+(u64)(rtt*5e5); k->gen=c->gen; k->conn=c-C; k->len=c->olen; k->p=malloc(c->olen); memcpy(k->p,c->out,c->olen); k->kind=1; push(&Fout,k);} c->olen=0; }
static void rep(conn*c,const char*s){ outb(c,s,strlen(s)); if(nogroup) flushc(c); }
static int cmpd(const void*a,const void*b){ double x=*(double*)a,y=*(double*)b; return x<y?-1:x>y; }
static void stats(conn*c){ char b[2000]; qsort(lat,nlat,sizeof(double),cmpd);
#define Q(q) (nlat? lat[(size_t)(q*(nlat-1))]*1000:0)
  snprintf(b,sizeof b,"{\"msgs\":%llu,\"conns\":%llu,\"refused\":%llu,\"cmds\":%llu,\"msgbytes\":%llu,\"inbytes\":%llu,\"span_s\":%.6f,\"open\":%d,\"peak\":%llu,\"nlat\":%zu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}\r\n",
  msgs,conns,refused,cmds,bytes,inbytes,(last_ns-first_ns)/1e9,nconn,peak,nlat,Q(.5),Q(.9),Q(.99),nlat?lat[nlat-1]*1000:0); rep(c,b); }
static void accepted(conn*c){ u64 n=now(); if(!msgs) first_ns=n; last_ns=n; msgs++; bytes+=c->sz; if(c->enq>0){ if(nlat==clat){ clat=clat?clat*2:65536; lat=realloc(lat,clat*sizeof(double)); } lat[nlat++]=wall()-c->enq; } 
  c->have_from=c->have_rcpt=0; c->enq=0; c->sz=0; }
static void process(conn*c);
static void eod(conn*c){ c->st=CMD; if(txn>0){ flushc(c); c->busy=1; chunk*k=malloc(sizeof*k); k->due=now()+(u64)(txn*1e6); k->gen=c->gen; k->conn=c-C; k->len=0; k->p=0; k->kind=2; push(&Ftxn,k); return; }
  accepted(c); rep(c,"250 2.0.0 Ok: queued\r\n"); }
static void scanhdr(conn*c,const char*p,size_t n){ /* find X-Enq in the first 4 KB of the message */
  if(!c->inh || c->enq>0) return; const char*q=memmem(p,n>4096?4096:n,"X-Enq: ",7); if(q){ char t[40]; size_t m=p+n-q-7; if(m>39)m=39; memcpy(t,q+7,m); t[m]=0; c->enq=atof(t); } c->inh=0; }
static void compact(conn*c){ if(c->off){ memmove(c->in,c->in+c->off,c->len-c->off); c->len-=c->off; c->off=0; } }
static void process(conn*c){
  while(!c->busy && c->fd>=0 && !c->quit){
    size_t n=c->len-c->off; char*p=c->in+c->off;
    if(c->st==DATA){
      /* end is CRLF.CRLF, or .CRLF at the very start */
      if(c->ls==1){ if(n<3) break; if(!memcmp(p,".\r\n",3)){ c->off+=3; c->ls=0; eod(c); continue;} c->ls=0; }
      char*q=memmem(p,n,"\r\n.\r\n",5);
      if(q){ scanhdr(c,p,n); c->sz+=q-p+2; c->off+=q-p+5; eod(c); continue; }
      if(n>4){ scanhdr(c,p,n); c->sz+=n-4; c->off+=n-4; } break;
    }
    if(c->st==BDAT){ size_t k=n<c->bleft?n:c->bleft; if(k) scanhdr(c,p,k); c->sz+=k; c->off+=k; c->bleft-=k; if(c->bleft) break;
      if(c->blast) eod(c); else { c->st=CMD; rep(c,"250 2.0.0 chunk ok\r\n"); } continue; }
    char*e=memchr(p,'\n',n); if(!e) break; size_t l=e-p; char*a=p; c->off+=l+1; cmds++; 
    if(!strncasecmp(a,"MAIL FROM",9)){ c->have_from=1; c->have_rcpt=0; rep(c,"250 2.1.0 Ok\r\n"); }
    else if(!strncasecmp(a,"RCPT TO",7)){ if(!c->have_from) rep(c,"503 5.5.1 no MAIL\r\n"); else { c->have_rcpt=1; rep(c,"250 2.1.5 Ok\r\n"); } }
    else if(!strncasecmp(a,"DATA",4)){ if(!c->have_rcpt) rep(c,"503 5.5.1 no RCPT\r\n"); else { c->st=DATA; c->ls=1; c->inh=1; c->sz=0; rep(c,"354 go\r\n"); } }
    else if(!strncasecmp(a,"BDAT ",5)){ if(!c->have_rcpt){ rep(c,"503 5.5.1 no RCPT\r\n"); c->quit=1; } else { if(!c->sz) c->inh=1; c->bleft=strtoul(a+5,0,10); char*z=memmem(a,l,"LAST",4); if(!z) z=memmem(a,l,"last",4); c->blast=z!=0; c->st=BDAT; } }
    else if(!strncasecmp(a,"EHLO",4)){ rep(c,"250-fastsink\r\n"); if(!nopipe) rep(c,"250-PIPELINING\r\n"); if(!nochunk) rep(c,"250-CHUNKING\r\n"); rep(c,"250-SIZE 104857600\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n"); }
    else if(!strncasecmp(a,"HELO",4)) rep(c,"250 fastsink\r\n");
    else if(!strncasecmp(a,"RSET",4)){ c->have_from=c->have_rcpt=0; c->sz=0; rep(c,"250 2.0.0 Ok\r\n"); }
    else if(!strncasecmp(a,"NOOP",4)) rep(c,"250 2.0.0 Ok\r\n");
    else if(!strncasecmp(a,"QUIT",4)){ rep(c,"221 2.0.0 Bye\r\n"); c->quit=1; }
    else if(!strncasecmp(a,"XLABSTATS",9)) stats(c);
    else if(!strncasecmp(a,"XLABCOUNT",9)){ char b[64]; snprintf(b,sizeof b,"%llu\r\n",msgs); rep(c,b); }
    else if(!strncasecmp(a,"XLABRESET",9)){ msgs=conns=refused=cmds=bytes=inbytes=0; peak=nconn; nlat=0; first_ns=last_ns=0; rep(c,"250 reset\r\n"); }
    else rep(c,"500 5.5.2 what\r\n");
  }
  compact(c); flushc(c);
  if(c->quit || (c->eof && !c->busy)){ if(!RT(c)) closec(c); else { chunk*k=malloc(sizeof*k); k->due=now()+(u64)(rtt*5e5); k->gen=c->gen; k->conn=c-C; k->len=0; k->p=0; k->kind=3; push(&Fout,k);} }
}
static void feed(conn*c,const char*p,size_t n){ if(c->len+n>c->cap){ c->cap=(c->len+n)*2; c->in=realloc(c->in,c->cap);} memcpy(c->in+c->len,p,n); c->len+=n; process(c); }
int main(int ac,char**av){ int o,port=0; while((o=getopt(ac,av,"p:r:t:m:CPg"))!=-1) switch(o){case'p':port=atoi(optarg);break;case'r':rtt=atof(optarg);break;case't':txn=atof(optarg);break;case'm':maxc=atoi(optarg);break;case'C':nochunk=1;break;case'P':nopipe=1;break;case'g':nogroup=1;break;}
  signal(SIGPIPE,SIG_IGN); for(int i=0;i<4096;i++) C[i].fd=-1; clat=1<<20; lat=malloc(clat*sizeof(double));
  lfd=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK,0); int one=1; setsockopt(lfd,SOL_SOCKET,SO_REUSEADDR,&one,4);
  struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port),.sin_addr.s_addr=htonl(INADDR_LOOPBACK)}; if(bind(lfd,(void*)&a,sizeof a)||listen(lfd,1024)){perror("bind");return 1;}
  ep=epoll_create1(0); struct epoll_event ev={.events=EPOLLIN,.data.u32=100000}; epoll_ctl(ep,EPOLL_CTL_ADD,lfd,&ev);
  struct sockaddr_un ua={.sun_family=AF_UNIX}; snprintf(ua.sun_path,sizeof ua.sun_path,"ctl.%d",port); unlink(ua.sun_path); int ufd=socket(AF_UNIX,SOCK_STREAM|SOCK_NONBLOCK,0); if(bind(ufd,(void*)&ua,sizeof ua)||listen(ufd,64)){perror("ctl");return 1;} ev.data.u32=100002; epoll_ctl(ep,EPOLL_CTL_ADD,ufd,&ev);
  tfd=timerfd_create(CLOCK_MONOTONIC,TFD_NONBLOCK); ev.data.u32=100001; epoll_ctl(ep,EPOLL_CTL_ADD,tfd,&ev); u64 armed=0; static char buf[1<<18];
  for(;;){
    u64 due=0; fifo*fs[3]={&Fin,&Fout,&Ftxn}; for(int i=0;i<3;i++) if(fs[i]->h && (!due||fs[i]->h->due<due)) due=fs[i]->h->due;
    if(due && due!=armed){ struct itimerspec it={.it_value={due/1000000000ULL,due%1000000000ULL}}; timerfd_settime(tfd,TFD_TIMER_ABSTIME,&it,0); armed=due; }
    struct epoll_event evs[256]; int n=epoll_wait(ep,evs,256,-1);
    for(int i=0;i<n;i++){ unsigned id=evs[i].data.u32;
      if(id==100000){ for(;;){ int fd=accept4(lfd,0,0,SOCK_NONBLOCK); if(fd<0) break; setsockopt(fd,IPPROTO_TCP,TCP_NODELAY,&one,4);
          if(nconn>=maxc||fd>=4096){ refused++; (void)!write(fd,"421 4.7.0 too many connections\r\n",32); close(fd); continue; }
          conn*c=&C[fd]; int g=c->gen; memset(c,0,sizeof*c); c->gen=g+1; c->fd=fd; c->counted=1; nconn++; conns++; if((u64)nconn>peak) peak=nconn; ev.events=EPOLLIN; ev.data.u32=fd; epoll_ctl(ep,EPOLL_CTL_ADD,fd,&ev);
          if(rtt<=0) rep(c,"220 fastsink ESMTP\r\n"),flushc(c); else { chunk*k=malloc(sizeof*k); /* SYN, SYN-ACK, ACK + greeting: 2 RTT */ k->due=now()+(u64)(rtt*5e5); k->gen=c->gen;k->conn=fd;k->len=0;k->p=0;k->kind=4; push(&Fin,k);} } continue; }
      if(id==100002){ int fd=accept4(ufd,0,0,SOCK_NONBLOCK); if(fd>=0 && fd<4096){ conn*c=&C[fd]; int g=c->gen; memset(c,0,sizeof*c); c->gen=g+1; c->fd=fd; c->ctl=1; ev.events=EPOLLIN; ev.data.u32=fd; epoll_ctl(ep,EPOLL_CTL_ADD,fd,&ev);} continue; }
      if(id==100001){ u64 x; (void)!read(tfd,&x,8); armed=0; continue; }
      conn*c=&C[id]; if(c->fd<0) continue; ssize_t k=read(c->fd,buf,sizeof buf);
      if(k<=0){ if(k<0&&errno==EAGAIN) continue; if(!RT(c)){ c->eof=1; epoll_ctl(ep,EPOLL_CTL_DEL,c->fd,0); if(!c->busy) closec(c); } else { epoll_ctl(ep,EPOLL_CTL_DEL,c->fd,0); chunk*q=malloc(sizeof*q); q->due=now()+(u64)(rtt*5e5); q->gen=c->gen;q->conn=id;q->len=0;q->p=0;q->kind=3; push(&Fin,q);} continue; }
      inbytes+=k; if(!RT(c)) feed(c,buf,k); else { chunk*q=malloc(sizeof*q); q->due=now()+(u64)(rtt*5e5); q->gen=c->gen;q->conn=id;q->len=k;q->p=malloc(k);memcpy(q->p,buf,k);q->kind=0; push(&Fin,q);} }
    u64 t=now(); for(int i=0;i<3;i++){ fifo*f=fs[i]; while(f->h && f->h->due<=t){ chunk*k=f->h; f->h=k->next; if(!f->h) f->t=0; conn*c=&C[k->conn];
        if(c->gen==k->gen && c->fd>=0) switch(k->kind){ case 0: feed(c,k->p,k->len); break; case 1: rawwrite(c,k->p,k->len); break; case 2: c->busy=0; accepted(c); rep(c,"250 2.0.0 Ok: queued\r\n"); process(c); break; case 3: closec(c); break;
          case 4: { /* wait another RTT (handshake) then greet */ k->kind=5; k->due=t+(u64)(rtt*5e5); push(&Fin,k); k=0; break; } case 5: { k->kind=6; k->due=t+(u64)(rtt*5e5); push(&Fin,k); k=0; break; } case 6: rep(c,"220 fastsink ESMTP\r\n"); flushc(c); break; }
        if(k){ free(k->p); free(k);} } }
  }
}
